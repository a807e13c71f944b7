package closure

import (
	"maps"
	"slices"

	"pix/storepath"
)

// A Diff lists the differences between two closures. Sizes are the sizes of archives in bytes.
type Diff struct {
	Packages              []PackageDiff // sorted by name; only those with added or removed paths
	Added, Removed        int           // paths
	SizeBefore, SizeAfter uint64
}

// A PackageDiff lists the differences in the paths of one package, the paths with the same name up to the version.
// Paths that are in both closures do not count.
type PackageDiff struct {
	Name           string
	Before, After  []string // the versions, sorted, each once; "" for a path without a version
	Removed, Added int      // paths
	SizeDelta      int64    // by how much the package grew
}

// Compare returns what changed from one closure to another, by package.
func Compare(before, after *Closure) *Diff {
	d := &Diff{SizeBefore: before.Size(), SizeAfter: after.Size()}
	byName := make(map[string]*PackageDiff)
	add := func(p storepath.Path) (*PackageDiff, string) {
		name, version := SplitName(p.Name())
		if byName[name] == nil {
			byName[name] = &PackageDiff{Name: name}
		}
		return byName[name], version
	}
	for p, info := range before.All() {
		if _, kept := after.index[p]; kept {
			continue
		}
		pkg, version := add(p)
		pkg.Before = append(pkg.Before, version)
		pkg.Removed++
		pkg.SizeDelta -= int64(info.NARSize)
		d.Removed++
	}
	for p, info := range after.All() {
		if _, kept := before.index[p]; kept {
			continue
		}
		pkg, version := add(p)
		pkg.After = append(pkg.After, version)
		pkg.Added++
		pkg.SizeDelta += int64(info.NARSize)
		d.Added++
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

// SplitName splits the name of a store path into package and version as Nix does: the version begins after the
// first dash that is not followed by a letter.
func SplitName(name string) (pkg, version string) {
	for i := 0; i+1 < len(name); i++ {
		if c := name[i+1] | 0x20; name[i] == '-' && (c < 'a' || c > 'z') {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}
