package pixpkgs

import (
	"slices"

	"pix/storepath"
)

// Override derives the package again with changes. f gets a Spec of its own in which it
// may change everything. Values in it are plain strings, or [String] where they mention
// something; to change one in part, put it into a new one:
//
//	fast, err := hello.Override(func(s *pixpkgs.Spec) {
//		s.Args = append(s.Args, "-O3")
//		s.Env["PATH"] = pixpkgs.Join(":", gcc.Path("bin"), s.Env["PATH"])
//	})
//
// A package that is no longer mentioned is no longer a dependency, but those that are
// in [Spec.Deps]. The package itself does not change. The error is that of [Derive].
func (p *Package) Override(f func(*Spec)) (*Package, error) {
	s := p.normal.toSpec()
	f(&s)
	return Derive(s)
}

// Replace returns the package as it is if another one is used wherever old was, however
// deep: all that depends on old is derived again, and nothing else. In Nix that is an
// overlay, or overrideAttrs at the right place. Where old is not to be found, p itself is
// returned.
//
// The error is that of [Derive], such as an [*OutputError] if an output of old is used
// that its replacement has not.
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

// with returns the package with its dependencies replaced by others; itself if they are
// the same.
func (p *Package) with(derived map[storepath.Path]*Package) (*Package, error) {
	same := true
	for _, dep := range p.deps {
		same = same && derived[dep.path].path == dep.path
	}
	if same {
		return p, nil
	}
	for _, dynamic := range p.normal.spec.dynamic {
		if derived[dynamic.pkg.path].path != dynamic.pkg.path {
			return nil, p.normal.failf("", "it uses derivations that package %q makes when it is built, which therefore cannot be replaced", dynamic.pkg.Name())
		}
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
