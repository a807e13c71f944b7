package pixpkgs_test

import (
	"slices"
	"strings"
	"testing"

	"pix/pixpkgs"
	"pix/storepath"
)

// textOf returns the text of a value in the Env of a Spec.
func textOf(v any) string { return pixpkgs.Join("", v).String() }

// listOf returns v, or a list whose text is v.
func listOf(v any) list {
	if values, ok := v.(list); ok {
		return values
	}
	if textOf(v) == "" {
		return nil
	}
	return list{v}
}

// declarationOf returns the declaration of a package of nixpkgs. ok is false if the package does not show it:
// mkDerivation adds flags for platforms, and a hook for debug information.
func declarationOf(p *pixpkgs.Package) (_ stdenvSpec, ok bool) {
	var s pixpkgs.Spec
	if _, err := p.Override(func(spec *pixpkgs.Spec) { s = *spec }); err != nil {
		return stdenvSpec{}, false
	}
	attrs, structured := s.Attrs.(env)
	if !structured {
		attrs = s.Env
	}
	if attrs["stdenv"] == nil || textOf(attrs["configurePlatforms"]) != "" || textOf(attrs["separateDebugInfo"]) != "" {
		return stdenvSpec{}, false
	}
	take := func(name string) any {
		v := attrs[name]
		delete(attrs, name)
		return v
	}
	d := stdenvSpec{
		Name: s.Name, StructuredAttrs: structured, Outputs: s.Outputs, Attrs: attrs, Builder: s.Args[len(s.Args)-1],
		OutputHash: s.OutputHash, OutputHashAlgo: s.OutputHashAlgo, OutputHashMode: s.OutputHashMode,
		Src: take("src"), Patches: listOf(take("patches")),
		NativeBuildInputs: listOf(take("nativeBuildInputs")), BuildInputs: listOf(take("buildInputs")),
		DepsBuildBuild: listOf(take("depsBuildBuild")), DepsBuildTarget: listOf(take("depsBuildTarget")),
		DepsHostHost: listOf(take("depsHostHost")), DepsTargetTarget: listOf(take("depsTargetTarget")),
		PropagatedNativeBuildInputs: listOf(take("propagatedNativeBuildInputs")), PropagatedBuildInputs: listOf(take("propagatedBuildInputs")),
		DepsBuildBuildPropagated: listOf(take("depsBuildBuildPropagated")), DepsBuildTargetPropagated: listOf(take("depsBuildTargetPropagated")),
		DepsHostHostPropagated: listOf(take("depsHostHostPropagated")), DepsTargetTargetPropagated: listOf(take("depsTargetTargetPropagated")),
		ConfigureFlags: listOf(take("configureFlags")), CMakeFlags: listOf(take("cmakeFlags")), MesonFlags: listOf(take("mesonFlags")),
		DoCheck: textOf(take("doCheck")) != "", DoInstallCheck: textOf(take("doInstallCheck")) != "", StrictDeps: textOf(take("strictDeps")) != "",
	}
	if structured {
		d.Env, _ = take("env").(env)
		for name := range d.Env {
			delete(attrs, name)
		}
		d.OutputChecks = map[string]pixpkgs.OutputReferences{}
		for output, checks := range take("outputChecks").(env) {
			d.OutputChecks[output] = referencesOf(checks.(env))
		}
	} else {
		d.OutputReferences = referencesOf(attrs)
	}
	for name, field := range map[string]*string{"pname": &d.Pname, "version": &d.Version} {
		if *field = textOf(attrs[name]); *field != "" {
			delete(attrs, name)
		}
	}
	for _, name := range []string{"stdenv", "__structuredAttrs", "NIX_HARDENING_ENABLE"} {
		delete(attrs, name)
	}
	for name, field := range map[string]*[]string{
		"hardeningEnable": &d.HardeningEnable, "hardeningDisable": &d.HardeningDisable, "configurePlatforms": &d.ConfigurePlatforms,
	} {
		if v, ok := attrs[name]; ok {
			*field = append([]string{}, strings.Fields(textOf(v))...)
			delete(attrs, name)
		}
	}
	if v, ok := attrs["srcs"]; ok {
		d.Srcs = append(list{}, listOf(v)...)
		delete(attrs, "srcs")
	}
	if v, ok := attrs["enableParallelBuilding"]; ok {
		attrs["enableParallelBuilding"] = false
		if d.EnableParallelBuilding = textOf(v) != ""; d.EnableParallelBuilding {
			delete(attrs, "enableParallelBuilding")
		}
	}
	return d, true
}

// referencesOf moves the checks of references out of attrs.
func referencesOf(attrs env) (r pixpkgs.OutputReferences) {
	for name, field := range map[string]*list{
		"allowedReferences": &r.AllowedReferences, "allowedRequisites": &r.AllowedRequisites,
		"disallowedReferences": &r.DisallowedReferences, "disallowedRequisites": &r.DisallowedRequisites,
	} {
		if v, ok := attrs[name]; ok {
			*field = append(list{}, listOf(v)...)
			delete(attrs, name)
		}
	}
	return r
}

// Every package of nixpkgs is the same package when it is declared again with the stdenv of another one.
func TestDeclareAgain(t *testing.T) {
	for _, corpus := range []string{"corepkgs-aiohttp", "corepkgs-texlive"} {
		t.Run(corpus, func(t *testing.T) {
			packages, err := pixpkgs.FromDerivations(loadAll(t, unpack(t, corpus), storepath.DefaultDir))
			if err != nil {
				t.Fatal(err)
			}
			stdenvs := map[any]*pixpkgs.Stdenv{}
			for _, p := range packages {
				if e, err := pixpkgs.StdenvOf(p); err == nil {
					stdenvs[e.Package] = e
				}
			}
			same := 0
			for path, p := range packages {
				e := stdenvs[stdenvOf(p)]
				d, ok := declarationOf(p)
				if e == nil || !ok {
					continue
				}
				again, err := e.MkDerivation(d)
				if err != nil || again.DrvPath() != path {
					t.Fatalf("%s is %v, %v\n%s", path, again, err, diffOf(p, again))
				}
				same++
			}
			if want := len(packages) * 3 / 4; same < want {
				t.Errorf("only %d of %d packages were declared again", same, len(packages))
			}
			t.Logf("%d of %d packages", same, len(packages))
		})
	}
}

// stdenvOf returns the stdenv among the dependencies of a package.
func stdenvOf(p *pixpkgs.Package) *pixpkgs.Package {
	text, _ := p.Derivation().Env.Get("stdenv")
	p.Override(func(s *pixpkgs.Spec) {
		if attrs, ok := s.Attrs.(env); ok {
			text = textOf(attrs["stdenv"])
		}
	})
	deps := p.Dependencies()
	i := slices.IndexFunc(deps, func(dep *pixpkgs.Package) bool { return dep.String() == text })
	if i < 0 {
		return nil
	}
	return deps[i]
}
