package pixpkgs_test

import "pix/pixpkgs"

// texlivePackages are packages in the closure of a TeX Live environment.
var texlivePackages = []reproduced{
	{"pixman-0.46.4", "gdbm-1.26", pixman},
	{"perl5.40.0-URI-5.21", "gdbm-1.26", perlURI},
	{"expect-5.45.4", "gdbm-1.26", expect},
	{"go-1.25.12", "gdbm-1.26", golang},
	{"boehm-gc-8.2.12", "gdbm-1.26", boehmGC},
	{"linux-pam-1.7.2", "gdbm-1.26", linuxPAM},
	{"duckuments-0.5-tex", "find-xml-catalogs-hook", duckuments},
}

// pixman is built by meson, with an output for debug information.
func pixman(n *nixpkgs) stdenvSpec {
	return stdenvSpec{
		Pname: "pixman", Version: "0.46.4",
		Src:               n.pkg("pixman-0.46.4.tar.gz"),
		SeparateDebugInfo: true,
		NativeBuildInputs: list{
			n.pkg("meson-1.11.2"), n.source("2vi9:setup-hook.sh"), n.pkg("ninja-1.13.2"),
			n.pkg("vpzn:pkg-config-wrapper-0.29.2"), n.pkg("flatten-include-hack-hook"),
		},
		BuildInputs:            n.pkgs("libpng-apng-1.6.50"),
		EnableParallelBuilding: true,
		DoCheck:                true,
		Attrs: env{
			"mesonAutoFeatures": "auto",
			"postPatch": `substituteInPlace test/meson.build \
  --replace-fail 'timeout : 120' 'timeout : 240'
`,
			"preConfigure": `# https://gitlab.freedesktop.org/pixman/pixman/-/issues/62
export OMP_NUM_THREADS=$((NIX_BUILD_CORES > 184 ? 184 : NIX_BUILD_CORES))
`,
		},
	}
}

// perlURI is a Perl module with a build script of its own, as buildPerlPackage declares it.
func perlURI(n *nixpkgs) stdenvSpec {
	perl := n.pkg("0nik:perl-5.40.0")
	return stdenvSpec{
		Name: "perl5.40.0-URI-5.21", Pname: "URI", Version: "5.21",
		Src:               n.pkg("URI-5.21.tar.gz"),
		Outputs:           []string{"out", "devdoc"},
		Builder:           n.source("380i:builder.sh"),
		NativeBuildInputs: list{perl.Out("out")},
		BuildInputs:       append(n.pkgs("perl5.40.0-Test-Fatal-0.017", "perl5.40.0-Test-Needs-0.002010", "perl5.40.0-Test-Warnings-0.032"), perl.Out("out")),
		DoCheck:           true,
		Env:               env{"PERL_AUTOINSTALL": "--skipdeps", "AUTOMATED_TESTING": true, "PERL_USE_UNSAFE_INC": "1", "fullperl": perl},
		Attrs:             env{"checkTarget": "test", "enableParallelBuilding": false, "postPatch": "patchShebangs ."},
	}
}

// expect is a Tcl package without one of the hardening flags. It mentions its own output.
func expect(n *nixpkgs) stdenvSpec {
	tcl, wrapper := n.pkg("tcl-8.6.16"), n.pkg("kjg7:make-shell-wrapper-hook")
	return stdenvSpec{
		Pname: "expect", Version: "5.45.4",
		Src: n.pkg("expect5.45.4.tar.gz"),
		Patches: append(n.pkgs("fix-build-time-run-tcl.patch", "0001-Add-prototype-to-function-definitions.patch", "expect-configure-c99.patch"),
			n.source("0004-enable-cross-compilation.patch"), n.source("fix-darwin-bsd-clang16.patch"), n.source("freebsd-unversioned.patch")),
		NativeBuildInputs:     list{n.pkg("2l3k:autoreconf-hook"), wrapper, wrapper, tcl},
		BuildInputs:           n.pkgs("tcl-package-hook"),
		PropagatedBuildInputs: list{tcl},
		StrictDeps:            true,
		ConfigureFlags: list{
			pixpkgs.Sprintf("--with-tcl=%s/lib", tcl), pixpkgs.Sprintf("--with-tclinclude=%s/include", tcl),
			pixpkgs.Sprintf("--exec-prefix=%s", pixpkgs.Placeholder("out")),
		},
		HardeningDisable: []string{"format"},
		Outputs:          []string{"out", "dev"},
		MainProgram:      "expect",
		Env:              env{"NIX_CFLAGS_COMPILE": "-Wno-error=incompatible-pointer-types -std=gnu17", "TCLSH": tcl.Path("bin/tclsh")},
		Attrs: env{
			"postPatch":   "sed -i \"s,/bin/stty,$(type -p stty),g\" configure.in\n",
			"postInstall": pixpkgs.Sprintf("tclWrapperArgs+=(--prefix PATH : %s)\n\n", tcl.Path("bin")),
		},
	}
}

// golang is the Go compiler, which must not refer to the compiler that builds it.
func golang(n *nixpkgs) stdenvSpec {
	bootstrap, libc := n.pkg("go-1.22.12-linux-amd64-bootstrap"), n.pkg("glibc-2.40-66")
	return stdenvSpec{
		Pname: "go", Version: "1.25.12",
		Src:         n.pkg("go1.25.12.src.tar.gz"),
		StrictDeps:  true,
		BuildInputs: list{libc.Out("out"), libc.Out("static")},
		Patches: append(n.pkgs("iana-etc-1.25.patch", "mailcap-1.17.patch", "tzdata-1.19.patch"),
			n.source("remove-tools-1.11.patch"), n.source("go-env-go_ldso.patch"), n.source("go_no_vendor_checks-1.23.patch")),
		OutputReferences: pixpkgs.OutputReferences{DisallowedReferences: list{bootstrap}},
		MainProgram:      "go",
		Env: env{
			"GOOS": "linux", "GOARCH": "amd64", "GOHOSTOS": "linux", "GOHOSTARCH": "amd64", "GOARM": "", "GO386": "softfloat",
			"CGO_ENABLED": 1, "GOROOT_BOOTSTRAP": bootstrap.Path("share/go"),
		},
		Attrs: env{"postPatch": "patchShebangs .\n", "buildPhase": goBuild, "preInstall": goPreInstall, "installPhase": goInstall},
	}
}

const (
	goBuild = `runHook preBuild
export GOCACHE=$TMPDIR/go-cache
if [ -f "$NIX_CC/nix-support/dynamic-linker" ]; then
  export GO_LDSO=$(cat $NIX_CC/nix-support/dynamic-linker)
fi

export PATH=$(pwd)/bin:$PATH


ulimit -a

pushd src
./make.bash
popd
runHook postBuild
`
	goPreInstall = `# Contains the wrong perl shebang when cross compiling,
# since it is not used for anything we can deleted as well.
rm src/regexp/syntax/make_perl_groups.pl
`
	goInstall = `runHook preInstall
mkdir -p $out/share/go
cp -a bin pkg src lib misc api doc go.env VERSION $out/share/go
mkdir -p $out/bin
ln -s $out/share/go/bin/* $out/bin
runHook postInstall
`
)

// boehmGC has structured attributes, tests, and an output for debug information.
func boehmGC(n *nixpkgs) stdenvSpec {
	return stdenvSpec{
		Pname: "boehm-gc", Version: "8.2.12",
		Src:                    n.pkg("bdwgc-8.2.12-github-source"),
		Outputs:                []string{"out", "dev", "doc"},
		StructuredAttrs:        true,
		SeparateDebugInfo:      true,
		NativeBuildInputs:      n.pkgs("2l3k:autoreconf-hook"),
		ConfigureFlags:         list{"--enable-cplusplus", "--with-libatomic-ops=none", "--enable-mmap"},
		DoCheck:                true,
		EnableParallelBuilding: true,
		Attrs:                  env{"makeFlags": list{}, "postConfigure": ""},
	}
}

// linuxPAM has structured attributes, checks of the references of one output, and flags of meson.
func linuxPAM(n *nixpkgs) stdenvSpec {
	bash := n.pkg("bash-interactive-5.3p3")
	return stdenvSpec{
		Pname: "linux-pam", Version: "1.7.2",
		Src:                    n.pkg("linux-pam-1.7.2-github-source"),
		StructuredAttrs:        true,
		StrictDeps:             true,
		EnableParallelBuilding: true,
		Outputs:                []string{"out", "doc", "man", "scripts"},
		DepsBuildBuild:         n.pkgs("gcc-wrapper-14.3.0"),
		NativeBuildInputs: list{
			n.pkg("flex-2.6.4"), n.pkg("meson-1.11.2"), n.source("2vi9:setup-hook.sh"), n.pkg("ninja-1.13.2"),
			n.pkg("vpzn:pkg-config-wrapper-0.29.2"), n.pkg("4f3i:gettext-0.25.1"), n.pkg("libxslt-1.1.45"), n.pkg("libxml2-2.15.1"),
			n.pkg("w3m-0.5.5"), n.pkg("find-xml-catalogs-hook"), n.pkg("docbook-xsl-ns-1.79.2"), n.pkg("docbook5-5.0.1"),
		},
		BuildInputs: list{n.pkg("db-4.8.30"), n.pkg("wzq5:libxcrypt-4.5.2"), bash, n.pkg("audit-4.2.1"), n.pkg("systemd-minimal-libs-258.2")},
		MesonFlags: list{
			"-Dlogind=enabled", "-Daudit=enabled", "-Dpam_lastlog=enabled", "-Dpam_unix=enabled", "-Dsysconfdir=etc", "-Delogind=disabled",
			"-Deconf=disabled", "-Dvendordir=", "-Dselinux=disabled", "-Dnis=disabled", "-Dxtests=false", "-Dexamples=false",
		},
		OutputChecks: map[string]pixpkgs.OutputReferences{"out": {DisallowedRequisites: list{bash, n.pkg("cwk3:bash-5.3p3")}}},
		Attrs: env{
			"mesonAutoFeatures": "auto",
			"postPatch": `substituteInPlace modules/module-meson.build \
  --replace-fail "sbindir / 'unix_chkpwd'" "'/run/wrappers/bin/unix_chkpwd'"
`,
			"postInstall": `moveToOutput sbin/pam_namespace_helper $scripts
moveToOutput etc/security/namespace.init $scripts
`,
		},
	}
}

// duckuments is a package of TeX Live with a known hash.
func duckuments(n *nixpkgs) stdenvSpec {
	return command(stdenvSpec{
		Name:       "duckuments-0.5-tex",
		Src:        n.pkg("duckuments.r52271.tar.xz"),
		OutputHash: "17fz5mkr812ig337m2q40dcsj98qpczw53vjrsqk1skmknk0q4g8", OutputHashAlgo: "sha256", OutputHashMode: "recursive",
		Attrs: env{"stripPrefix": 0, "tlOutputName": "tex"},
	}, `mkdir "$out"
if [[ "$tlOutputName"  == "tlpkg" ]]; then
  tar -xf "$src" \
    --strip-components=1 \
    -C "$out" --anchored --exclude=tlpkg/tlpobj --keep-old-files \
    tlpkg
else
  tar -xf "$src" \
    --strip-components="$stripPrefix" \
    -C "$out" --anchored --exclude=tlpkg --keep-old-files
fi
`)
}
