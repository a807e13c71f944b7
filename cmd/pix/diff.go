package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newDiff(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Print what changed from the closure of A to that of B",
		Long: `Print what changed from the closure of A to that of B, by the names of packages: a line each with
the versions in A and in B and by how much the size grew. Paths whose versions are the same but
which are not are told by the numbers of their paths. The last line sums it up. The exit code
is 0, as for any answer.`,
		Example:           "  pix diff /run/booted-system /run/current-system",
		GroupID:           groupStore,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: atMost(2, a.completePaths),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := a.paths(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				known, err := loadClosure(ctx, s, paths...) // they have most in common
				if err != nil {
					return err
				}
				d := diffClosures(closureIn(known, paths[0]), closureIn(known, paths[1]))
				return a.printEither(d.String(), d, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as an object")
	return cmd
}

// A packageDiff says what changed of the paths of one package.
type packageDiff struct {
	Name   string   `json:"name"`
	Before []string `json:"before"` // the versions, sorted; "" for none
	After  []string `json:"after"`
	Size   int64    `json:"sizeDelta"` // in bytes of archives

	pathsBefore, pathsAfter int
}

// A closureDiff says what changed between two closures.
type closureDiff struct {
	Packages   []packageDiff `json:"packages"`
	Added      int           `json:"pathsAdded"`
	Removed    int           `json:"pathsRemoved"`
	SizeBefore uint64        `json:"sizeBefore"`
	SizeAfter  uint64        `json:"sizeAfter"`
}

// diffClosures compares two closures by the names of packages. Paths that are in both do
// not count.
func diffClosures(before, after map[storepath.Path]*store.PathInfo) *closureDiff {
	d := &closureDiff{Packages: []packageDiff{}}
	byName := make(map[string]*packageDiff)
	get := func(p storepath.Path) (*packageDiff, string) {
		name, version := splitVersion(p.Name())
		if byName[name] == nil {
			byName[name] = &packageDiff{Name: name, Before: []string{}, After: []string{}}
		}
		return byName[name], version
	}
	for p, info := range before {
		d.SizeBefore += info.NARSize
		if after[p] == nil {
			pkg, version := get(p)
			pkg.Before, pkg.pathsBefore = append(pkg.Before, version), pkg.pathsBefore+1
			pkg.Size -= int64(info.NARSize)
			d.Removed++
		}
	}
	for p, info := range after {
		d.SizeAfter += info.NARSize
		if before[p] == nil {
			pkg, version := get(p)
			pkg.After, pkg.pathsAfter = append(pkg.After, version), pkg.pathsAfter+1
			pkg.Size += int64(info.NARSize)
			d.Added++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		pkg := byName[name]
		slices.Sort(pkg.Before)
		slices.Sort(pkg.After)
		pkg.Before, pkg.After = slices.Compact(pkg.Before), slices.Compact(pkg.After)
		d.Packages = append(d.Packages, *pkg)
	}
	return d
}

// splitVersion splits the name of a store path as Nix does: the version begins after the
// first dash that no letter follows.
func splitVersion(name string) (pkg, version string) {
	for i := 0; i+1 < len(name); i++ {
		if c := name[i+1] | 0x20; name[i] == '-' && (c < 'a' || c > 'z') {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func (d *closureDiff) String() string {
	var b strings.Builder
	for _, p := range d.Packages {
		fmt.Fprintf(&b, "%s: %s", p.Name, p.change())
		if p.Size != 0 {
			fmt.Fprintf(&b, ", %s", signedSize(p.Size))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d paths added, %d removed; %s -> %s, %s\n", d.Added, d.Removed,
		humanSize(d.SizeBefore), humanSize(d.SizeAfter), signedSize(int64(d.SizeAfter)-int64(d.SizeBefore)))
	return b.String()
}

// change says what changed of a package's versions.
func (p *packageDiff) change() string {
	switch {
	case p.pathsBefore == 0:
		return strings.TrimSpace("added " + versions(p.After))
	case p.pathsAfter == 0:
		return strings.TrimSpace("removed " + versions(p.Before))
	case !slices.Equal(p.Before, p.After):
		return versions(p.Before) + " -> " + versions(p.After)
	}
	return fmt.Sprintf("%s, %d -> %d paths", versions(p.After), p.pathsBefore, p.pathsAfter)
}

func versions(v []string) string {
	v = slices.Clone(v)
	for i := range v {
		if v[i] == "" {
			v[i] = "(no version)"
		}
	}
	return strings.Join(v, ", ")
}

func signedSize(n int64) string {
	if n < 0 {
		return "-" + humanSize(uint64(-n))
	}
	return "+" + humanSize(uint64(n))
}
