package pixpkgs_test

import (
	"errors"
	"strings"
	"testing"

	"pix/pixpkgs"
)

// A rule is a declaration, and the derivation that Nix 2.34 creates for the same arguments of
// stdenv.mkDerivation, with the nixpkgs of the corpora. Arguments that are not given are pname = "p" and
// version = "1".
type rule struct {
	name, drvPath string
	arguments     string
	declare       func(t *testing.T) stdenvSpec
}

func nodev(t *testing.T) *pixpkgs.Package {
	return mk(t, spec{Name: "nodev", Outputs: []string{"bin", "out"}})
}

func ca(t *testing.T) *pixpkgs.Package { return mk(t, spec{Name: "ca", ContentAddressed: true}) }

// ruledStdenv is a stdenv whose tools are not real.
func ruledStdenv(t *testing.T) *pixpkgs.Stdenv {
	cc := mk(t, spec{Name: "cc", Env: env{"default_hardening_flags_str": "bindnow format fortify fortify3 pic relro strictflexarrays3"}})
	e := &pixpkgs.Stdenv{
		Package: mk(t, spec{Name: "stdenv", Env: env{"defaultNativeBuildInputs": list{cc}}}), System: "x86_64-linux",
		Shell:   mk(t, spec{Name: "bash"}).Path("bin/bash"),
		Scripts: list{pixpkgs.StorePath("/nix/store/l622p70vy8k5sh7y5wizi5f2mic6ynpg-source-stdenv.sh")},
		Builder: pixpkgs.StorePath("/nix/store/shkw4qm9qcw5sc5n1k5jznc83ny02r39-default-builder.sh"),
	}
	p, err := e.MkDerivation(stdenvSpec{Name: "example"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err = pixpkgs.StdenvOf(p); err != nil {
		t.Fatal(err)
	}
	e.DebugInfoHook = pixpkgs.StorePath("/nix/store/r989dk196nl9frhnfsa1lb7knhbyjxw6-separate-debug-info.sh")
	return e
}

// withName completes the name of a declaration.
func withName(s stdenvSpec) stdenvSpec {
	if s.Pname == "" {
		s.Pname = "p"
	}
	if s.Version == "" {
		s.Version = "1"
	}
	return s
}

func TestMkDerivationRules(t *testing.T) {
	e := ruledStdenv(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			p, err := e.MkDerivation(withName(r.declare(t)))
			if err != nil {
				t.Fatal(err)
			}
			if string(p.DrvPath()) != r.drvPath {
				t.Errorf("mkDerivation %s is %s instead of %s", r.arguments, p.Derivation(), r.drvPath)
			}
		})
	}
}

var rules = []rule{
	{"plain", "/nix/store/7hl8bcnwhkywxkba1wahzg6yn4c0blq0-p-1.drv", `{ }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{} }},
	{"deps", "/nix/store/f4cg87gidqfkl2629lfkg13mbwh2arvq-p-1.drv", `{ nativeBuildInputs = [ dep multi nodev multi.bin null "/x" [ multi nodev ] ]; buildInputs = [ ca ]; depsBuildBuild = [ multi ]; depsBuildTarget = [ dep ]; depsHostHost = [ dep ]; depsTargetTarget = [ nodev ]; depsBuildBuildPropagated = [ multi ]; propagatedNativeBuildInputs = [ nodev ]; depsBuildTargetPropagated = [ dep ]; depsHostHostPropagated = [ multi ]; propagatedBuildInputs = [ multi ]; depsTargetTargetPropagated = [ multi ]; }`,
		func(t *testing.T) stdenvSpec {
			d, m, n := dep(t), multi(t), nodev(t)
			return stdenvSpec{NativeBuildInputs: list{d, m, n, m.Out("bin"), nil, "/x", list{m, n}}, BuildInputs: list{ca(t)}, DepsBuildBuild: list{m}, DepsBuildTarget: list{d}, DepsHostHost: list{d}, DepsTargetTarget: list{n},
				DepsBuildBuildPropagated: list{m}, PropagatedNativeBuildInputs: list{n}, DepsBuildTargetPropagated: list{d}, DepsHostHostPropagated: list{m}, PropagatedBuildInputs: list{m}, DepsTargetTargetPropagated: list{m}}
		}},
	{"sdeps", "/nix/store/3jqa4v3fb6xfvil7b2yp7fg1ayj9whxh-p-1.drv", `{ __structuredAttrs = true; nativeBuildInputs = [ dep multi nodev multi.bin null "/x" [ multi nodev ] ]; buildInputs = [ ca ]; f = null; g = 1.5; }`,
		func(t *testing.T) stdenvSpec {
			d, m, n := dep(t), multi(t), nodev(t)
			return stdenvSpec{StructuredAttrs: true, NativeBuildInputs: list{d, m, n, m.Out("bin"), nil, "/x", list{m, n}}, BuildInputs: list{ca(t)}, Attrs: env{"f": nil, "g": 1.5}}
		}},
	{"checks", "/nix/store/db3ssv025gkzh7dd2g0cnvf47qq3hfkw-p-1.drv", `{ doCheck = true; doInstallCheck = true; nativeCheckInputs = [ dep ]; checkInputs = [ multi ]; nativeInstallCheckInputs = [ nodev ]; installCheckInputs = [ ca ]; buildInputs = [ dep ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{DoCheck: true, DoInstallCheck: true, NativeCheckInputs: list{dep(t)}, CheckInputs: list{multi(t)}, NativeInstallCheckInputs: list{nodev(t)}, InstallCheckInputs: list{ca(t)}, BuildInputs: list{dep(t)}}
		}},
	{"noChecks", "/nix/store/7hl8bcnwhkywxkba1wahzg6yn4c0blq0-p-1.drv", `{ nativeCheckInputs = [ dep ]; checkInputs = [ multi ]; nativeInstallCheckInputs = [ nodev ]; installCheckInputs = [ ca ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{NativeCheckInputs: list{dep(t)}, CheckInputs: list{multi(t)}, NativeInstallCheckInputs: list{nodev(t)}, InstallCheckInputs: list{ca(t)}}
		}},
	{"platforms", "/nix/store/00ry6mxy3743rykank2vn2rgrbj7dzvh-p-1.drv", `{ configurePlatforms = [ "target" "build" ]; configureFlags = [ "-a" ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{ConfigurePlatforms: []string{"target", "build"}, ConfigureFlags: list{"-a"}}
		}},
	{"hard1", "/nix/store/15b1xckdz3svm4hm5dsdqa4dwpqp6f19-p-1.drv", `{ hardeningDisable = [ "fortify" "relro" ]; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{HardeningDisable: []string{"fortify", "relro"}} }},
	{"hard2", "/nix/store/4qk2jn2hxx4980yvlqxlsf2lm7pz9178-p-1.drv", `{ hardeningDisable = [ "all" ]; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{HardeningDisable: []string{"all"}} }},
	{"hard3", "/nix/store/xcdfwdw8cd93d33nzx50zy99cfb9w5yh-p-1.drv", `{ hardeningEnable = [ "zerocallusedregs" "pic" ]; hardeningDisable = [ "strictflexarrays1" ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{HardeningEnable: []string{"zerocallusedregs", "pic"}, HardeningDisable: []string{"strictflexarrays1"}}
		}},
	{"hard4", "/nix/store/537hzgwx5sd0jz4jgiiypqd4znwh25pz-p-1.drv", `{ hardeningEnable = [ ]; hardeningDisable = [ ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{HardeningEnable: []string{}, HardeningDisable: []string{}}
		}},
	{"shard", "/nix/store/b89m6y9zgrf9aij5ma8jlxzzp3vw1r16-p-1.drv", `{ __structuredAttrs = true; hardeningEnable = [ "zerocallusedregs" ]; configurePlatforms = []; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{StructuredAttrs: true, HardeningEnable: []string{"zerocallusedregs"}, ConfigurePlatforms: []string{}}
		}},
	{"parallel", "/nix/store/q1ddqcfviq1wwa8qmbirrgkmwaia9zcc-p-1.drv", `{ enableParallelBuilding = true; enableParallelChecking = false; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{EnableParallelBuilding: true, Attrs: env{"enableParallelChecking": false}}
		}},
	{"noparallel", "/nix/store/hbk6wg5s72xyi2q434l7aly9c8jms5wy-p-1.drv", `{ enableParallelBuilding = false; separateDebugInfo = false; strictDeps = false; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{Attrs: env{"enableParallelBuilding": false, "separateDebugInfo": false, "strictDeps": false}}
		}},
	{"refs", "/nix/store/fwl8fgnbfir4cicd3y8s6rbj81aypapq-p-1.drv", `{ disallowedReferences = [ dep multi.dev multi ]; disallowedRequisites = [ "x" ca ]; allowedReferences = [ "out" ]; allowedRequisites = []; buildInputs = [ multi ]; }`,
		func(t *testing.T) stdenvSpec {
			m := multi(t)
			return stdenvSpec{BuildInputs: list{m}, OutputReferences: pixpkgs.OutputReferences{DisallowedReferences: list{dep(t), m.Out("dev"), m}, DisallowedRequisites: list{"x", ca(t)}, AllowedReferences: list{"out"}, AllowedRequisites: list{}}}
		}},
	{"srefs", "/nix/store/91gzbc7qr6sai8awayr3hz58hlnd34mw-p-1.drv", `{ __structuredAttrs = true; outputs = [ "out" "dev" ]; separateDebugInfo = true; disallowedReferences = [ dep ]; outputChecks.dev = { disallowedReferences = [ multi.dev ]; allowedRequisites = [ ]; maxSize = 3; }; outputChecks.nothing = { allowedReferences = [ ]; }; }`,
		func(t *testing.T) stdenvSpec {
			m := multi(t)
			return stdenvSpec{StructuredAttrs: true, SeparateDebugInfo: true, Outputs: []string{"out", "dev"}, OutputReferences: pixpkgs.OutputReferences{DisallowedReferences: list{dep(t)}},
				OutputChecks: map[string]pixpkgs.OutputReferences{"dev": {DisallowedReferences: list{m.Out("dev")}, AllowedRequisites: list{}}, "nothing": {AllowedReferences: list{}}}}
		}},
	{"debug", "/nix/store/pybbgympxqxm7wmq5r2ifb0g7hgj2vd1-p-1.drv", `{ separateDebugInfo = true; doCheck = true; nativeBuildInputs = [ dep ]; nativeCheckInputs = [ multi ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{SeparateDebugInfo: true, DoCheck: true, NativeBuildInputs: list{dep(t)}, NativeCheckInputs: list{multi(t)}}
		}},
	{"env", "/nix/store/9pz1acwq3dxbjl4b117gp7qzvjqpq7zf-p-1.drv", `{ env = { A = 1; B = true; C = false; D = dep; E = "x"; }; meta.mainProgram = "prog"; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{Env: env{"A": 1, "B": true, "C": false, "D": dep(t), "E": "x"}, MainProgram: "prog"}
		}},
	{"senv", "/nix/store/xiv7hc4ka0smbqpfymrxmchaibc7mysz-p-1.drv", `{ __structuredAttrs = true; env = { A = 1; B = true; C = false; D = dep; E = "x"; }; meta.mainProgram = "prog"; args = [ "-c" dep ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{StructuredAttrs: true, Env: env{"A": 1, "B": true, "C": false, "D": dep(t), "E": "x"}, MainProgram: "prog", Args: list{"-c", dep(t)}}
		}},
	{"ca", "/nix/store/cl4z0yrjisbnvl2dx50yxrb3nfzsisc8-p-1.drv", `{ __contentAddressed = true; outputs = [ "out" "dev" ]; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{ContentAddressed: true, Outputs: []string{"out", "dev"}}
		}},
	{"sca", "/nix/store/jg3n5jxmq4s6sjahz6gf7zah7db4nxcr-p-1.drv", `{ __contentAddressed = true; __structuredAttrs = true; outputHashAlgo = "sha512"; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{ContentAddressed: true, StructuredAttrs: true, OutputHashAlgo: "sha512"}
		}},
	{"impure", "/nix/store/4m5h7pnk2xhnm3hh7n96ca73gq614s99-p-1.drv", `{ __impure = true; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{Impure: true} }},
	{"fixed", "/nix/store/hn866chzpf3wrwgr1c8qv371qby3gmnz-p-1.drv", `{ outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; outputHashMode = "recursive"; realBuilder = "/x"; builder = dep; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{OutputHash: emptySRI, OutputHashMode: "recursive", RealBuilder: "/x", Builder: dep(t)}
		}},
	{"name1", "/nix/store/xrz4d1r93r18g1hgnx881l2vh869w06v-a-b-c..-_.drv", `{ name = "a b/c..é_"; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{Name: "a b/c..é_"} }},
	{"name2", "/nix/store/cjny2d5hclcglhnmfyh5xxi58q7zfz8d-x.drv", `{ name = "..x"; pname = "y"; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{Name: "..x", Pname: "y"} }},
	{"name3", "/nix/store/ip3yzf4i8djb1khm8wzwwp944vsy4fhx-345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789.drv", `{ name = lib.concatStrings (lib.genList (i: "0123456789") 25); }`,
		func(t *testing.T) stdenvSpec {
			s := ""
			for range 25 {
				s += "0123456789"
			}
			return stdenvSpec{Name: s}
		}},
	{"name4", "/nix/store/ab20sgfqx6qysn1y3r56ra0gdwcq4vys-weird-name-1-2.drv", `{ pname = "weird name"; version = "1 2"; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{Pname: "weird name", Version: "1 2"} }},
	{"name5", "/nix/store/88ala01mi3bcd1gp29yzwc83dv2fd72x-unknown.drv", `{ name = ""; }`,
		func(t *testing.T) stdenvSpec { return stdenvSpec{Name: ".", Pname: ""} }},
	{"srcs", "/nix/store/q7jika02i44aparqj5cbkqrbywh14vsh-p-1.drv", `{ srcs = [ dep multi ]; src = null; cmakeFlags = [ "-DX=1" ]; mesonFlags = [ "-Dy" dep ]; patches = [ dep ]; passAsFile = [ "b" ]; b = "x"; }`,
		func(t *testing.T) stdenvSpec {
			return stdenvSpec{Srcs: list{dep(t), multi(t)}, CMakeFlags: list{"-DX=1"}, MesonFlags: list{"-Dy", dep(t)}, Patches: list{dep(t)}, Attrs: env{"passAsFile": list{"b"}, "b": "x"}}
		}},
}

// Packages of a set are the same dependencies as packages that are derived.
func TestMkDerivationInSets(t *testing.T) {
	e := ruledStdenv(t)
	lazy := pixpkgs.Ready
	m, n, d, c := multi(t), nodev(t), dep(t), ca(t)
	want, err := e.MkDerivation(stdenvSpec{
		Name: "set", NativeBuildInputs: list{m, n, d}, BuildInputs: list{m.Out("bin")}, Src: d,
		OutputReferences: pixpkgs.OutputReferences{DisallowedReferences: list{m, c}, AllowedReferences: list{n.Out("bin")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Define(func() stdenvSpec {
		return stdenvSpec{
			Name: "set", NativeBuildInputs: list{lazy(m), lazy(n), lazy(d)}, BuildInputs: list{lazy(m).Out("bin")}, Src: lazy(d),
			OutputReferences: pixpkgs.OutputReferences{DisallowedReferences: list{lazy(m), lazy(c)}, AllowedReferences: list{lazy(n).Out("bin")}},
		}
	}).Package()
	if err != nil || got.DrvPath() != want.DrvPath() {
		t.Errorf("%v, %v\n%s", got, err, diffOf(want, got))
	}
}

// The defaults of a Stdenv apply unless a declaration overrides them, and its version of nixpkgs omits
// empty attributes.
func TestStdenvDefaults(t *testing.T) {
	e := ruledStdenv(t)
	e.StrictDeps, e.EnableParallelBuilding, e.ConfigurePlatforms, e.System = true, true, []string{"host"}, "aarch64-darwin"
	e.UserHook, e.Omitted = "hook", []string{"cmakeFlags", "mesonFlags", "patches", "doCheck"}
	variables := func(s stdenvSpec) func(string) string {
		p, err := e.MkDerivation(withName(s))
		if err != nil {
			t.Fatal(err)
		}
		return func(name string) string {
			if value, ok := p.Derivation().Env.Get(name); ok {
				return value
			}
			return "missing"
		}
	}
	for name, test := range map[string]struct {
		declare stdenvSpec
		want    env
	}{
		"defaults": {stdenvSpec{}, env{
			"strictDeps": "1", "enableParallelBuilding": "1", "enableParallelInstalling": "1", "userHook": "hook",
			"configureFlags": "--host=arm64-apple-darwin", "configurePlatforms": "missing",
			"cmakeFlags": "missing", "mesonFlags": "missing", "patches": "missing", "doCheck": "missing", "doInstallCheck": "",
		}},
		"overridden": {stdenvSpec{
			ConfigurePlatforms: []string{}, CMakeFlags: list{"-D"}, Patches: list{"x"}, DoCheck: true,
			Attrs: env{"strictDeps": false, "enableParallelBuilding": false},
		}, env{
			"strictDeps": "", "enableParallelBuilding": "", "enableParallelInstalling": "missing",
			"configureFlags": "", "configurePlatforms": "", "cmakeFlags": "-D", "mesonFlags": "missing", "patches": "x", "doCheck": "1",
		}},
	} {
		value := variables(test.declare)
		for variable, want := range test.want {
			if got := value(variable); got != want {
				t.Errorf("%s: %s is %q instead of %q", name, variable, got, want)
			}
		}
	}
}

// Each mistake is an error with the name of the package and the field.
func TestMkDerivationMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		s     stdenvSpec
		wants []string
	}{
		"no name":              {stdenvSpec{Pname: "p"}, []string{"Name", "Version"}},
		"attribute of a field": {stdenvSpec{Name: "p", Attrs: env{"buildInputs": list{}}}, []string{`"p"`, `Attrs "buildInputs"`, "BuildInputs"}},
		"switch in Attrs":      {stdenvSpec{Name: "p", Attrs: env{"doCheck": true}}, []string{`"p"`, `Attrs "doCheck"`, "DoCheck"}},
		"variable twice":       {stdenvSpec{Name: "p", Env: env{"x": 1}, Attrs: env{"x": 2}}, []string{`"p"`, `Env "x"`}},
		"variable of a field":  {stdenvSpec{Name: "p", Env: env{"outputs": "x"}}, []string{`"p"`, `Env "outputs"`}},
		"checks of an output":  {stdenvSpec{Name: "p", OutputChecks: map[string]pixpkgs.OutputReferences{}}, []string{`"p"`, "OutputChecks", "StructuredAttrs"}},
		"debug information with checks": {stdenvSpec{Name: "p", SeparateDebugInfo: true, OutputReferences: pixpkgs.OutputReferences{AllowedReferences: list{}}},
			[]string{`"p"`, "SeparateDebugInfo", "StructuredAttrs"}},
		"undeclared":     {stdenvSpec{Name: "p", Attrs: env{"postInstall": dep(t).String()}}, []string{`"p"`, `Env "postInstall"`, `"dep"`}},
		"nil dependency": {stdenvSpec{Name: "p", BuildInputs: list{(*pixpkgs.Package)(nil)}}, []string{`"p"`, `Env "buildInputs"`, "nil"}},
		"nil lazy":       {stdenvSpec{Name: "p", BuildInputs: list{(*pixpkgs.Lazy)(nil)}}, []string{`"p"`, `Env "buildInputs"`, "nil"}},
	} {
		t.Run(name, func(t *testing.T) { checkStdenvError(t, ruledStdenv(t), test.s, test.wants) })
	}
	t.Run("no stdenv", func(t *testing.T) {
		checkStdenvError(t, &pixpkgs.Stdenv{System: "x86_64-linux"}, stdenvSpec{Name: "p"}, []string{`"p"`, "Stdenv", "nil"})
	})
	t.Run("no hook", func(t *testing.T) {
		e := ruledStdenv(t)
		e.DebugInfoHook = nil
		checkStdenvError(t, e, stdenvSpec{Name: "p", SeparateDebugInfo: true}, []string{`"p"`, "SeparateDebugInfo", "DebugInfoHook"})
	})
	t.Run("no flags", func(t *testing.T) {
		e := ruledStdenv(t)
		e.HardeningFlags = nil
		checkStdenvError(t, e, stdenvSpec{Name: "p", HardeningDisable: []string{"all"}}, []string{`"p"`, "HardeningDisable", "HardeningFlags"})
	})
	t.Run("no platform", func(t *testing.T) {
		e := ruledStdenv(t)
		e.System = "riscv64-hurd"
		checkStdenvError(t, e, stdenvSpec{Name: "p", ConfigurePlatforms: []string{"host"}}, []string{`"p"`, "ConfigurePlatforms", "riscv64-hurd", "Platform"})
	})
}

func checkStdenvError(t *testing.T, e *pixpkgs.Stdenv, s stdenvSpec, wants []string) {
	t.Helper()
	p, err := e.MkDerivation(s)
	var failed *pixpkgs.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v, %v", p, err)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not contain %q", err, want)
		}
	}
}

// A package that does not show its stdenv is an error that says why.
func TestStdenvOfErrors(t *testing.T) {
	e := ruledStdenv(t)
	own, err := e.MkDerivation(stdenvSpec{Name: "own", Builder: text(t, "build.sh", "x")})
	if err != nil {
		t.Fatal(err)
	}
	args, err := e.MkDerivation(stdenvSpec{Name: "args", Args: list{"-c", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]*pixpkgs.Package{
		`package "dep": it was not built with a stdenv`:                  dep(t),
		`package "args": its arguments are not those of a stdenv`:        args,
		`package "own": its default build script is unknown, because it`: own,
	} {
		if _, err := pixpkgs.StdenvOf(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %s", err, want)
		}
	}
}
