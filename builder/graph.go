package builder

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// contentFor returns the variables and files that the builder gets from the derivation.
func (b *build) contentFor(ctx context.Context) (*content, error) {
	graphs := map[string]string{}
	_, structured := b.drv.Env.Get(derivation.StructuredAttrsKey)
	for name, paths := range b.options.ExportReferencesGraph.All() {
		infos, err := b.exportGraph(ctx, paths)
		if err != nil {
			return nil, err
		}
		if structured {
			graphs[name] = graphJSON(infos)
		} else {
			graphs[name] = graphText(infos)
		}
	}
	if structured {
		return structuredContent(b.drv, graphs)
	}
	c := plainContent(b.drv, b.options)
	maps.Copy(c.files, graphs)
	return c, nil
}

// exportGraph returns the closure of paths that the derivation asks for, sorted. If the closure contains derivations,
// it includes the closures of their outputs, as in Nix, so that a builder can make an installation medium from which
// everything can be built.
func (b *build) exportGraph(ctx context.Context, paths []derivation.SingleDerivedPath) ([]*store.PathInfo, error) {
	var roots []storepath.Path
	for _, p := range paths {
		path, err := b.resolve(p)
		if err != nil {
			return nil, err
		}
		if !b.closure[path] {
			return nil, &Failure{Status: store.InputRejected, Message: fmt.Sprintf("cannot export references of path '%s' because it is not in the input closure of the derivation", path)}
		}
		roots = append(roots, path)
	}
	found := map[storepath.Path]*store.PathInfo{}
	if err := b.addClosure(ctx, found, roots); err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if !path.IsDerivation() {
			continue
		}
		outputs, err := b.outputsOf(path)
		if err != nil {
			return nil, err
		}
		if err := b.addClosure(ctx, found, outputs); err != nil {
			return nil, err
		}
	}
	infos := make([]*store.PathInfo, 0, len(found))
	for _, path := range slices.Sorted(maps.Keys(found)) {
		infos = append(infos, found[path])
	}
	return infos, nil
}

// resolve returns the store path of an input.
func (b *build) resolve(p derivation.SingleDerivedPath) (storepath.Path, error) {
	built, ok := p.(derivation.SingleBuilt)
	if !ok {
		return p.Base(), nil
	}
	if path, ok := b.req.Inputs[built.Drv.Base()][built.Output]; ok {
		return path, nil
	}
	return "", fmt.Errorf("the path of input '%s' of derivation '%s' is not known", p, b.req.Path)
}

// addClosure adds the path infos of the closure of roots.
func (b *build) addClosure(ctx context.Context, found map[storepath.Path]*store.PathInfo, roots []storepath.Path) error {
	for info, err := range store.Closure(ctx, b.store, roots...) {
		if err != nil {
			return err
		}
		found[info.Path] = info
	}
	return nil
}

// outputsOf returns the output paths of a valid derivation.
func (b *build) outputsOf(drv storepath.Path) ([]storepath.Path, error) {
	text, err := os.ReadFile(b.store.ObjectFile(drv))
	if err != nil {
		return nil, err
	}
	d, err := derivation.ParseAt(drv, string(text))
	if err != nil {
		return nil, err
	}
	var paths []storepath.Path
	for name, o := range d.Outputs.All() {
		path, err := staticPath(d, name, o)
		if err != nil {
			return nil, err
		}
		if path == "" {
			return nil, fmt.Errorf("exportReferences on CA derivations is not yet implemented")
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// staticPath returns the path of an output if it follows from the derivation, or "".
func staticPath(d *derivation.Derivation, name string, o derivation.Output) (storepath.Path, error) {
	switch o.Kind() {
	case derivation.InputAddressed:
		return o.Path(), nil
	case derivation.Fixed:
		return d.Dir.FixedOutputPath(storepath.OutputName(d.Name, name), o.ContentAddress(), storepath.References{})
	case derivation.Floating, derivation.Deferred, derivation.Impure:
	}
	return "", nil
}

// graphText returns a closure as "nix-store --register-validity" reads it, without hashes and derivers.
func graphText(infos []*store.PathInfo) string {
	var s strings.Builder
	for _, info := range infos {
		fmt.Fprintf(&s, "%s\n\n%d\n", info.Path, len(info.References))
		for _, ref := range info.References {
			s.WriteString(string(ref) + "\n")
		}
	}
	return s.String()
}

// graphJSON returns a closure as a JSON array.
func graphJSON(infos []*store.PathInfo) string {
	sizes := closureSizes(infos)
	members := make([]string, 0, len(infos))
	for i, info := range infos {
		refs := make([]string, 0, len(info.References))
		for _, ref := range info.References {
			refs = append(refs, quoteJSON(string(ref)))
		}
		var ca string
		if !info.CA.IsZero() {
			ca = `"ca":` + quoteJSON(info.CA.String()) + ","
		}
		members = append(members, fmt.Sprintf(`{%s"closureSize":%d,"narHash":%s,"narSize":%d,"path":%s,"references":[%s],"valid":true}`,
			ca, sizes[i], quoteJSON(info.NARHash.WithNix32()), info.NARSize, quoteJSON(string(info.Path)), strings.Join(refs, ",")))
	}
	return "[" + strings.Join(members, ",") + "]"
}

// closureSizes returns the size of the closure of each path, as the sum of the archive sizes in bytes. infos must
// contain all of these closures.
func closureSizes(infos []*store.PathInfo) []uint64 {
	index := make(map[storepath.Path]int, len(infos))
	for i, info := range infos {
		index[info.Path] = i
	}
	refs := make([][]int, len(infos))
	for i, info := range infos {
		for _, ref := range info.References {
			refs[i] = append(refs[i], index[ref])
		}
	}
	sizes := make([]uint64, len(infos))
	visited := make([]int, len(infos)) // the last root, plus one, from which a path was visited
	for root := range infos {
		visited[root] = root + 1
		for next := []int{root}; len(next) > 0; {
			i := next[len(next)-1]
			next = next[:len(next)-1]
			sizes[root] += infos[i].NARSize
			for _, ref := range refs[i] {
				if visited[ref] != root+1 {
					visited[ref] = root + 1
					next = append(next, ref)
				}
			}
		}
	}
	return sizes
}
