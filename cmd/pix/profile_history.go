package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/profile"
	"pix/storepath"
)

func newProfileHistory(a *app, o *profileOptions) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the generations of a profile",
		Long: `List the generations of a profile: a line each with the number, when it was created, its path, and
"(current)" for the generation to which the profile points. A symlink that does not point into the
store has its target in quotes.`,
		Example: "  pix profile history",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.profile(cmd.Context(), o)
			if err != nil {
				return err
			}
			all, err := p.Generations(cmd.Context())
			if err != nil {
				return profileError(err)
			}
			objects := make([]generationJSON, len(all))
			var b strings.Builder
			for i, g := range all {
				objects[i] = newGenerationJSON(g)
				b.WriteString(generationLine(g))
			}
			return a.printEither(b.String(), objects, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list of objects")
	return cmd
}

// generationLine returns the line of a generation. Its first columns are the same as in nix-env --list-generations.
func generationLine(g profile.Generation) string {
	contents := string(g.Path)
	if g.Target != contents {
		contents = "'" + oneLine(visible(g.Target)) + "'" // any text, which must not look like another line
	}
	current := ""
	if g.Current {
		current = "   (current)"
	}
	return fmt.Sprintf("%4d   %s   %s%s\n", g.Number, g.Created.Format("2006-01-02 15:04:05"), contents, current)
}

// A generationJSON is a generation in the output of profile history --json.
type generationJSON struct {
	Number  uint64          `json:"number"`
	Created int64           `json:"created"`
	Current bool            `json:"current"`
	Link    string          `json:"link"`
	Path    *storepath.Path `json:"path"`
}

func newGenerationJSON(g profile.Generation) generationJSON {
	object := generationJSON{Number: g.Number, Created: g.Created.Unix(), Current: g.Current, Link: g.Link}
	if g.Path != "" {
		object.Path = &g.Path
	}
	return object
}
