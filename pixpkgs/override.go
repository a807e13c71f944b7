package pixpkgs

import (
	"slices"

	"pix/storepath"
)

// Override derives the package again with changes. f may change everything in its Spec. The values in
// the Spec are plain strings, or a [String] if they mention something. To change a part of a String,
// build a new one from it:
//
//	fast, err := hello.Override(func(s *pixpkgs.Spec) {
//		s.Args = append(s.Args, "-O3")
//		s.Env["PATH"] = pixpkgs.Join(":", gcc.Path("bin"), s.Env["PATH"])
//	})
//
// A package that is no longer mentioned is no longer a dependency, unless it is in [Spec.Deps]. p itself
// does not change. The errors are the errors of [Derive].
func (p *Package) Override(f func(*Spec)) (*Package, error) {
	s := p.normal.toSpec()
	f(&s)
	return Derive(s)
}

// Replace returns p with replacement instead of old everywhere in its closure. It derives all packages
// that depend on old again, and no others. In Nix, an overlay or overrideAttrs does this. If p does not
// depend on old, Replace returns p.
//
// The errors are the errors of [Derive], for example an [*OutputError] if replacement does not have an
// output of old that is used.
func (p *Package) Replace(old, replacement *Package) (*Package, error) {
	derived := map[storepath.Path]*Package{old.path: replacement}
	for pkg := range closureOf([]*Package{p}) {
		if derived[pkg.path] != nil {
			continue
		}
		again, err := pkg.with(derived)
		if err != nil {
			return nil, err
		}
		derived[pkg.path] = again
	}
	return derived[p.path], nil
}

// with returns the package with its dependencies replaced, or p itself if they do not change.
func (p *Package) with(derived map[storepath.Path]*Package) (*Package, error) {
	same := true
	for _, dep := range p.deps {
		same = same && derived[dep.path].path == dep.path
	}
	if same {
		return p, nil
	}
	n, err := p.normal.mapStrings(func(s *String) (String, bool, error) {
		out := String{text: s.text, parts: slices.Clone(s.parts)}
		for i := range out.parts {
			if pkg := out.parts[i].pkg; pkg != nil && derived[pkg.path] != nil {
				out.parts[i].pkg = derived[pkg.path]
			}
		}
		return out, true, nil
	})
	if err != nil {
		return nil, err
	}
	return n.derive()
}
