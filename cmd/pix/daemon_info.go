package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/daemon"
	"pix/localstore"
	"pix/protocol"
	"pix/server"
	"pix/store"
)

func newDaemonInfo(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "daemon-info",
		Short: "Print the chosen store, and the versions and features of its daemon",
		Long: `Print which store was chosen, and why; the address of the daemon, its versions, its trust in this
user, the negotiated features of the protocol, and for each operation of the protocol whether this
user can use it: yes, in part (some requests need a trusted user), or no, with the reason.

For a store in a directory, which has no daemon, print the directories of its parts.`,
		Example: "  pix daemon-info --store ssh-ng://builder",
		GroupID: groupStore,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			choice, err := a.choose(openOptions{access: toRead})
			if err != nil {
				return err
			}
			s, err := a.openChosen(cmd.Context(), choice)
			if none, ok := errors.AsType[*localstore.NoStoreError](err); ok {
				return a.printLocalInfo(choice, none.Info, false, asJSON)
			}
			if err != nil {
				return err
			}
			defer s.Close()
			if local, ok := store.As[*localstore.Store](s); ok {
				return a.printLocalInfo(choice, local.Info(), true, asJSON)
			}
			d, ok := store.As[*daemon.Pool](s)
			if !ok {
				return a.printOtherInfo(choice, s, asJSON)
			}
			info, err := d.Info(cmd.Context())
			if err != nil {
				return err
			}
			described := describeDaemon(info)
			described.chosenJSON = choice.json()
			return a.printEither(described.text(), described, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return cmd
}

// daemonInfoJSON is the output of daemon-info for a daemon.
type daemonInfoJSON struct {
	chosenJSON
	Address         string                `json:"address"`
	NixVersion      *string               `json:"nixVersion"` // null before protocol 1.33
	ProtocolVersion string                `json:"protocolVersion"`
	Negotiated      string                `json:"negotiatedVersion"`
	Trust           string                `json:"trust"`
	Features        []string              `json:"features"`
	StoreDir        string                `json:"storeDir"`
	Operations      []daemonOperationJSON `json:"operations"`
}

type daemonOperationJSON struct {
	Name      string  `json:"name"`
	Number    uint64  `json:"number"`
	Available string  `json:"available"` // yes, in part, or no
	Reason    *string `json:"reason"`
}

func describeDaemon(info daemon.Info) daemonInfoJSON {
	d := daemonInfoJSON{
		Address:         info.Addr,
		NixVersion:      orNull(info.NixVersion),
		ProtocolVersion: info.DaemonVersion.String(),
		Negotiated:      info.Version.String(),
		Trust:           info.Trust.String(),
		Features:        notNull(info.Features.Names()),
		StoreDir:        string(info.Dir),
	}
	for _, row := range protocol.Operations() {
		o := daemonOperationJSON{Name: row.Name, Number: uint64(row.Op)}
		answer, reason := available(info, row)
		o.Available, o.Reason = answer, orNull(reason)
		d.Operations = append(d.Operations, o)
	}
	return d
}

// available returns whether this client can use an operation of the daemon ("yes", "in part" or "no"), and the
// reason if the answer is not plain yes.
func available(info daemon.Info, row protocol.Operation) (answer, reason string) {
	var unsupported *protocol.UnsupportedError
	if errors.As(info.Check(row.Op), &unsupported) {
		if unsupported.Feature != 0 {
			return "no", "it lacks the feature " + unsupported.Feature.String()
		}
		return "no", "it needs protocol " + unsupported.Since.String()
	}
	trusted := info.Trust == protocol.Trusted
	switch {
	case row.Op == protocol.RegisterDrvOutput && info.Trust == protocol.NotTrusted && isPix(info.NixVersion):
		return "no", needsTrust // Nix lets every user register realisations
	case row.Access == protocol.Everybody || trusted:
		return "yes", ""
	case info.Trust == protocol.TrustUnknown:
		return "yes", "if it trusts this user, which it does not report"
	case row.Access == protocol.TrustedInPart:
		return "in part", "some requests need a trusted user"
	}
	return "no", needsTrust
}

const needsTrust = "it needs a trusted user"

// isPix reports whether the daemon is pix: its version has the suffix of [server.NixVersion].
func isPix(version string) bool {
	own := server.NixVersion[strings.LastIndexByte(server.NixVersion, '-'):]
	return strings.HasSuffix(version, own)
}

func (d daemonInfoJSON) text() string {
	nix := "unknown"
	if d.NixVersion != nil {
		nix = *d.NixVersion
	}
	var b strings.Builder
	b.WriteString(d.chosenJSON.text())
	fmt.Fprintf(&b, "address: %s\n", d.Address)
	fmt.Fprintf(&b, "nix: %s\n", nix)
	fmt.Fprintf(&b, "protocol: %s, negotiated %s\n", d.ProtocolVersion, d.Negotiated)
	fmt.Fprintf(&b, "trust: %s\n", d.Trust)
	fmt.Fprintf(&b, "features: %s\n", strings.Join(d.Features, " "))
	fmt.Fprintf(&b, "store-dir: %s\n", d.StoreDir)
	for _, o := range d.Operations {
		line := o.Available
		if o.Reason != nil {
			line += " (" + *o.Reason + ")"
		}
		fmt.Fprintf(&b, "operation %s: %s\n", o.Name, line)
	}
	return b.String()
}
