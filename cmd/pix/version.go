package main

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

// jsonFormat is the version of the output of --json, which docs/json.md describes. It is incremented when a member is removed
// or changes its meaning, and not when a member is added.
const jsonFormat = 1

func newVersion(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of pix",
		Long: `Print the version of pix, or the commit that it was built from, and the version of Go that built it.
With --json also the version of the JSON output of all verbs: within a version members are only
added.`,
		Example: "  pix version --json",
		GroupID: groupOther,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.printVersion(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as an object")
	return cmd
}

func (a *app) printVersion(asJSON bool) error {
	b := readBuildInfo()
	return a.printEither("pix "+b.String()+"\n", b, asJSON)
}

// A buildInfo is the information about its build in a binary.
type buildInfo struct {
	Version    string  `json:"version"`    // of the module; (devel) if unknown
	Commit     *string `json:"commit"`     // in full; null if unknown
	Modified   bool    `json:"modified"`   // whether there were uncommitted changes
	CommitTime *int64  `json:"commitTime"` // in seconds since 1970
	Go         string  `json:"go"`
	Platform   string  `json:"platform"` // GOOS/GOARCH
	JSONFormat int     `json:"jsonFormat"`
}

// readBuildInfo returns the build information of this binary.
func readBuildInfo() buildInfo {
	b := buildInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, JSONFormat: jsonFormat}
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

// String returns the version, the commit if the version does not contain it, and the version of Go.
func (b buildInfo) String() string {
	s := b.Version
	if s == "(devel)" && b.Commit != nil {
		s += " " + (*b.Commit)[:min(12, len(*b.Commit))]
		if b.Modified {
			s += "+dirty"
		}
	}
	return s + " " + b.Go
}
