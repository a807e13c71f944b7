package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/internal/sizes"
	"pix/store"
)

func newDiff(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Print how closure B differs from closure A",
		Long: `Print how closure B differs from closure A, by the names of packages: a line each with all its
versions in A and in B, and the change in size. Outputs such as dev belong to the version of their
package. A package with other paths of the same versions is rebuilt, or has the numbers of its paths
if they differ. The last line has the totals. The exit code is 0, whether there are changes or not.`,
		Example:           "  pix diff /run/booted-system /run/current-system",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: atMost(2, a.completePaths),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				paths, err := twoObjects(ctx, s, names)
				if err != nil {
					return err
				}
				both, err := closure.Load(ctx, s, paths[:]...) // in one pass, because they usually share most paths
				if err != nil {
					return err
				}
				d := closure.Compare(both.Of(paths[0]), both.Of(paths[1]))
				return a.printEither(closureDiffText(d), newClosureDiffJSON(d), asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as an object")
	return cmd
}

// closureDiffText returns a line for each package and one with the totals.
func closureDiffText(d *closure.Diff) string {
	var b strings.Builder
	for _, p := range d.Packages {
		fmt.Fprintf(&b, "%s: %s", p.Name, packageChange(&p))
		if p.SizeDelta != 0 {
			fmt.Fprintf(&b, ", %s", signedSize(p.SizeDelta))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s added, %d removed; %s -> %s, %s\n", counted(d.Added, "path"), d.Removed,
		sizes.Human(d.SizeBefore), sizes.Human(d.SizeAfter), signedSize(d.SizeDelta()))
	return b.String()
}

// packageChange describes the change in the versions of a package.
func packageChange(p *closure.PackageDiff) string {
	switch {
	case p.PathsBefore == 0:
		return "added " + versionList(p.After)
	case p.PathsAfter == 0:
		return "removed " + versionList(p.Before)
	case p.IsRebuild():
		return versionList(p.After) + ", rebuilt"
	case slices.Equal(p.Before, p.After):
		return fmt.Sprintf("%s, %d -> %s", versionList(p.After), p.PathsBefore, counted(p.PathsAfter, "path"))
	}
	return versionList(p.Before) + " -> " + versionList(p.After)
}

func versionList(versions []string) string {
	words := slices.Clone(versions)
	for i := range words {
		if words[i] == "" {
			words[i] = "(no version)"
		}
	}
	return strings.Join(words, ", ")
}

func signedSize(n int64) string {
	if n < 0 {
		return "-" + sizes.Human(uint64(-n))
	}
	return "+" + sizes.Human(uint64(n))
}

// The output of diff --json.
type (
	closureDiffJSON struct {
		Packages   []packageDiffJSON `json:"packages"`
		Added      int               `json:"pathsAdded"`
		Removed    int               `json:"pathsRemoved"`
		SizeBefore uint64            `json:"sizeBefore"`
		SizeAfter  uint64            `json:"sizeAfter"`
	}
	packageDiffJSON struct {
		Name   string   `json:"name"`
		Before []string `json:"before"`
		After  []string `json:"after"`
		Size   int64    `json:"sizeDelta"`
	}
)

func newClosureDiffJSON(d *closure.Diff) *closureDiffJSON {
	object := &closureDiffJSON{
		Packages: make([]packageDiffJSON, len(d.Packages)),
		Added:    d.Added, Removed: d.Removed,
		SizeBefore: d.SizeBefore, SizeAfter: d.SizeAfter,
	}
	for i, p := range d.Packages {
		object.Packages[i] = packageDiffJSON{p.Name, notNull(p.Before), notNull(p.After), p.SizeDelta}
	}
	return object
}
