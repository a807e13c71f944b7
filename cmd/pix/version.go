package main

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

// jsonFormat is the version of what --json prints, as docs/json.md describes it. Within a
// version members are only added; when one changes its meaning or goes, it is counted up.
const jsonFormat = 1

func newVersion(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print which pix this is",
		Long: `Print which pix this is: the version, or the commit that it was built from, and the Go that
built it. With --json also which format the JSON of all verbs has: within one, members are
only ever added.`,
		Example: "  pix version --json",
		GroupID: groupOther,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.printVersion(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as an object")
	return cmd
}

func (a *app) printVersion(asJSON bool) error {
	b := readBuild()
	return a.printEither("pix "+b.String()+"\n", b, asJSON)
}

// A build is what a binary knows of how it was made.
type build struct {
	Version    string  `json:"version"`    // of the module; (devel) if the build did not say
	Commit     *string `json:"commit"`     // in full; null if the build did not say
	Modified   bool    `json:"modified"`   // whether there were changes that were not committed
	CommitTime *int64  `json:"commitTime"` // in seconds since 1970
	Go         string  `json:"go"`
	Platform   string  `json:"platform"` // GOOS/GOARCH
	JSONFormat int     `json:"jsonFormat"`
}

// readBuild returns what the build has left in the binary.
func readBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, JSONFormat: jsonFormat}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = orNull(s.Value)
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				seconds := t.Unix()
				b.CommitTime = &seconds
			}
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String names the build for people. A version that Go made up has the commit in it.
func (b build) String() string {
	s := b.Version
	if s == "(devel)" && b.Commit != nil {
		s += " " + (*b.Commit)[:min(12, len(*b.Commit))]
		if b.Modified {
			s += "+dirty"
		}
	}
	return s + " " + b.Go
}
