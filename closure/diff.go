package closure

import (
	"maps"
	"math"
	"slices"
	"strings"

	"pix/storepath"
)

// A Diff lists the differences between two closures. Sizes are the sizes of archives in bytes.
type Diff struct {
	Packages              []PackageDiff // sorted by name; only those with added or removed paths
	Added, Removed        int           // paths
	SizeBefore, SizeAfter uint64
}

// A PackageDiff lists the differences in the paths of one package, the paths with the same name up to the version.
type PackageDiff struct {
	Name                    string
	Before, After           []string // all versions of the package in each closure, sorted, each once; "" for a path without a version
	PathsBefore, PathsAfter int      // its paths in each closure
	Removed, Added          int      // the paths that only one of the closures has
	SizeDelta               int64    // by how much the package grew
}

// IsRebuild reports whether the package has other paths, but as many and of the same versions.
func (p *PackageDiff) IsRebuild() bool {
	return slices.Equal(p.Before, p.After) && p.PathsBefore == p.PathsAfter
}

// SizeDelta returns by how many bytes the closure grew.
func (d *Diff) SizeDelta() int64 { return growth(d.SizeBefore, d.SizeAfter) }

// growth returns how much larger after is, limited to the range of the type.
func growth(before, after uint64) int64 {
	if after >= before {
		return int64(min(after-before, math.MaxInt64))
	}
	return -int64(min(before-after, math.MaxInt64))
}

// A comparedPackage is a PackageDiff that is being computed.
type comparedPackage struct {
	PackageDiff
	removedSize, addedSize uint64
}

// Compare returns what changed from one closure to another, by package.
func Compare(before, after *Closure) *Diff {
	d := &Diff{SizeBefore: before.Size(), SizeAfter: after.Size()}
	byName := make(map[string]*comparedPackage)
	add := func(o Object) (*comparedPackage, string) {
		name, version := packageOf(o)
		if byName[name] == nil {
			byName[name] = &comparedPackage{PackageDiff: PackageDiff{Name: name}}
		}
		return byName[name], version
	}
	for p, o := range before.All() {
		pkg, version := add(o)
		pkg.Before = append(pkg.Before, version)
		if _, kept := after.index[p]; !kept {
			pkg.Removed++
			pkg.removedSize = total(pkg.removedSize, o.NARSize)
			d.Removed++
		}
	}
	for p, o := range after.All() {
		pkg, version := add(o)
		pkg.After = append(pkg.After, version)
		if _, kept := before.index[p]; !kept {
			pkg.Added++
			pkg.addedSize = total(pkg.addedSize, o.NARSize)
			d.Added++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		pkg := byName[name]
		if pkg.Added+pkg.Removed == 0 {
			continue
		}
		pkg.PathsBefore, pkg.PathsAfter = len(pkg.Before), len(pkg.After)
		slices.Sort(pkg.Before)
		slices.Sort(pkg.After)
		pkg.Before, pkg.After = slices.Compact(pkg.Before), slices.Compact(pkg.After)
		pkg.SizeDelta = growth(pkg.removedSize, pkg.addedSize)
		d.Packages = append(d.Packages, pkg.PackageDiff)
	}
	return d
}

// packageOf returns the package and the version of a path, without the name of the output. The deriver tells the name of the
// output. Without a deriver it is a last part of the version in lower case, as in Nix.
func packageOf(o Object) (pkg, version string) {
	name := o.Path.Name()
	if drv, ok := strings.CutSuffix(o.Deriver.Name(), storepath.DerivationExt); ok && o.Deriver != "" {
		if strings.HasPrefix(name, drv+"-") {
			name = drv
		}
		return SplitName(name)
	}
	pkg, version = SplitName(name)
	if i := strings.LastIndexByte(version, '-'); i > 0 && isOutputName(version[i+1:]) {
		version = version[:i]
	}
	return pkg, version
}

// isOutputName reports whether Nix's diff-closures takes the last part of a version for the name of an output.
func isOutputName(s string) bool {
	return s == "lib32" || s == "lib64" || s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
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
