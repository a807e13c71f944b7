package viewtest

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A Fixture is a store with path infos only. The store in memory that it wraps has the other capabilities, and no paths.
type Fixture struct {
	*memstore.Store
	infos map[storepath.Path]*store.PathInfo
	paths []storepath.Path
	root  storepath.Path
}

// Root returns the path that needs all others.
func (f *Fixture) Root() storepath.Path { return f.root }

// QueryPathInfo implements store.Store.
func (f *Fixture) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	if info, ok := f.infos[path]; ok {
		return info, nil
	}
	return nil, &store.NotFoundError{Path: path}
}

// IsValidPath implements store.Store.
func (f *Fixture) IsValidPath(_ context.Context, path storepath.Path) (bool, error) {
	return f.infos[path] != nil, nil
}

// QueryValidPaths implements store.Store.
func (f *Fixture) QueryValidPaths(_ context.Context, paths []storepath.Path, _ bool) ([]storepath.Path, error) {
	valid := slices.DeleteFunc(slices.Clone(paths), func(path storepath.Path) bool { return f.infos[path] == nil })
	slices.Sort(valid)
	return slices.Compact(valid), nil
}

// QueryAllValidPaths implements store.AllPathsQuerier.
func (f *Fixture) QueryAllValidPaths(context.Context) ([]storepath.Path, error) {
	return slices.Clone(f.paths), nil
}

// QueryReferrers implements store.ReferrerQuerier.
func (f *Fixture) QueryReferrers(_ context.Context, path storepath.Path) (referrers []storepath.Path, err error) {
	for _, p := range f.paths {
		if slices.Contains(f.infos[p].References, path) {
			referrers = append(referrers, p)
		}
	}
	return referrers, nil
}

func newFixture(infos []*store.PathInfo) *Fixture {
	f := &Fixture{Store: memstore.New(nil), infos: make(map[storepath.Path]*store.PathInfo, len(infos))}
	needed := make(map[storepath.Path]bool)
	for _, info := range infos {
		slices.Sort(info.References)
		f.infos[info.Path] = info
		f.paths = append(f.paths, info.Path)
		for _, ref := range info.References {
			needed[ref] = true
		}
	}
	slices.Sort(f.paths)
	for _, path := range f.paths {
		if !needed[path] {
			f.root = path
		}
	}
	return f
}

// FromDerivations returns a store that has a path for each .drv file in a directory, with the same references. The sizes
// are like the ones of programs.
func FromDerivations(ctx context.Context, dir, root string) (*Fixture, error) {
	base, err := storepath.DefaultDir.ParseBase(root)
	if err != nil {
		return nil, err
	}
	drvs, err := derivation.LoadClosure(ctx, derivation.Directory(dir), []storepath.Path{base}, nil)
	if err != nil {
		return nil, err
	}
	paths := make(map[storepath.Path]storepath.Path)
	built := func(path storepath.Path) storepath.Path {
		if p, ok := paths[path]; ok {
			return p
		}
		p, err := storepath.DefaultDir.ParseBase(strings.TrimSuffix(path.Base(), storepath.DerivationExt))
		if err != nil {
			panic(err) // the name is shorter than a valid one
		}
		paths[path] = p
		return p
	}
	var infos []*store.PathInfo
	sources := make(map[storepath.Path]bool)
	for path, d := range drvs.All() {
		info := &store.PathInfo{Path: built(path), NARSize: sizeOf(path)}
		for input := range d.InputDerivations.All() {
			info.References = append(info.References, built(input))
		}
		for src := range d.InputSources.All() {
			info.References = append(info.References, built(src))
			if !sources[src] {
				sources[src] = true
				infos = append(infos, &store.PathInfo{Path: built(src), NARSize: sizeOf(src) / 50})
			}
		}
		infos = append(infos, info)
	}
	return newFixture(infos), nil
}

// sizeOf returns a size that is always the same for a path. The sizes of packages are distributed like this: most have some
// hundred kilobytes, a few have hundreds of megabytes.
func sizeOf(path storepath.Path) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(path))
	random := rand.New(rand.NewPCG(sum.Sum64(), 1))
	return 400 + uint64(math.Exp(12.5+2.2*random.NormFloat64()))
}

// Unrelated returns a store of n paths without references. All of them have the same size, except the first one, which is
// large.
func Unrelated(n int) *Fixture {
	infos := make([]*store.PathInfo, n)
	for i := range n {
		path, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-unrelated-%d", i, i))
		if err != nil {
			panic(err) // the name is valid
		}
		infos[i] = &store.PathInfo{Path: path, NARSize: 1000}
	}
	infos[0].NARSize = 10_000_000
	return newFixture(infos)
}

// words are parts of names of packages.
var words = strings.Fields("glibc gcc bash coreutils zlib openssl python perl systemd linux firefox qt gtk glib cairo pango ffmpeg llvm rust go node ruby lua sqlite curl git vim emacs nginx texlive fonts icons mesa vulkan wayland xorg dbus polkit udev")

// Generate returns a store of n paths with about six references each. The graph is the same each time.
func Generate(n int) *Fixture {
	random := rand.New(rand.NewPCG(1, 2))
	const digits = "0123456789abcdfghijklmnpqrsvwxyz"
	infos := make([]*store.PathInfo, n)
	needed := make([]bool, n)
	for i := range n {
		hash := make([]byte, storepath.HashPartLen)
		for k := range hash {
			hash[k] = digits[random.IntN(len(digits))]
		}
		name := fmt.Sprintf("%s-%s-%d.%d", words[random.IntN(len(words))], words[random.IntN(len(words))], random.IntN(30), random.IntN(10))
		path, err := storepath.DefaultDir.ParseBase(string(hash) + "-" + name)
		if err != nil {
			panic(err) // the name is valid
		}
		infos[i] = &store.PathInfo{Path: path, NARSize: sizeOf(path)}
		seen := map[int]bool{}
		for range min(i, 2+random.IntN(9)) {
			// Half of the references are to the first paths, as to a C library and a shell.
			at := i - 1 - random.IntN(min(i, 300))
			if random.IntN(2) == 0 {
				at = int(float64(i) * math.Pow(random.Float64(), 4))
			}
			if !seen[at] {
				seen[at], needed[at] = true, true
				infos[i].References = append(infos[i].References, infos[at].Path)
			}
		}
		if i == n-1 {
			for at := range i {
				if !needed[at] {
					infos[i].References = append(infos[i].References, infos[at].Path)
				}
			}
		}
		slices.SortFunc(infos[i].References, func(a, b storepath.Path) int { return cmp.Compare(a, b) })
	}
	return newFixture(infos)
}
