package pixpkgs_test

import (
	"slices"

	"pix/pixpkgs"
)

// aiohttpPackages are packages in the closure of a Python package.
var aiohttpPackages = []reproduced{
	{"attr-2.5.2", "acl-2.3.2", attr},
	{"n5rk:zlib-1.3.2", "a67m:xz-5.8.3", zlib},
	{"brotli-1.2.0", "gdbm-1.26", brotli},
	{"p7sk:nghttp2-1.70.0", "gdbm-1.26", nghttp2},
	{"python3.13-idna-3.18", "gdbm-1.26", idna},
	{"python3.13-markupsafe-3.0.3", "gdbm-1.26", markupsafe},
	{"attrs-26.1.0.tar.gz", "find-xml-catalogs-hook", attrsTarball},
	{"idna-3.18-github-source", "find-xml-catalogs-hook", idnaSource},
	{"5fj7:die-hook", "find-xml-catalogs-hook", dieHook},
}

// attr is a C library with five outputs, built by autotools, with a patch.
func attr(n *nixpkgs) stdenvSpec {
	return stdenvSpec{
		Pname: "attr", Version: "2.5.2",
		Src:               n.pkg("attr-2.5.2.tar.gz"),
		Outputs:           []string{"bin", "dev", "out", "man", "doc"},
		NativeBuildInputs: n.pkgs("cyjv:gettext-0.25.1"),
		Patches:           list{n.source("musl.patch")},
		Attrs: env{"postPatch": `for script in install-sh include/install-sh; do
  patchShebangs $script
done
`},
	}
}

// zlib is a C library with a configure script of its own, and many explicit false values.
func zlib(n *nixpkgs) stdenvSpec {
	return stdenvSpec{
		Pname: "zlib", Version: "1.3.2",
		Src:                    n.pkg("zlib-1.3.2.tar.gz"),
		Outputs:                []string{"out", "dev", "static"},
		StrictDeps:             true,
		EnableParallelBuilding: true,
		ConfigureFlags:         list{"--static", "--shared"},
		ConfigurePlatforms:     []string{},
		Env:                    env{"NIX_CFLAGS_COMPILE": "-static-libgcc"},
		Attrs: env{
			"setOutputFlags": false, "outputDoc": "dev",
			"dontConfigure": false, "dontDisableStatic": true, "dontAddStaticConfigureFlags": true, "dontStrip": false,
			"postPatch": "", "preConfigure": "", "postInstall": "moveToOutput lib/libz.a \"$static\"\n",
			"installFlags": list{}, "makeFlags": list{"PREFIX=", "SHARED_MODE=1"},
		},
	}
}

// brotli is built by cmake.
func brotli(n *nixpkgs) stdenvSpec {
	return stdenvSpec{
		Pname: "brotli", Version: "1.2.0",
		Src:               n.pkg("brotli-1.2.0-github-source"),
		NativeBuildInputs: list{n.pkg("cmake-minimal-3.31.10"), n.source("configure-phase-hook.sh")},
		Outputs:           []string{"out", "dev", "lib"},
		MainProgram:       "brotli",
		Attrs: env{
			"checkTarget": "test",
			"postInstall": `mkdir -p $out/share/man/man{1,3}
cp ../docs/*.1 $out/share/man/man1/
cp ../docs/*.3 $out/share/man/man3/
`,
		},
	}
}

// nghttp2 has tests, and dependencies with an output "dev". One dependency of its tests is null in Nix.
func nghttp2(n *nixpkgs) stdenvSpec {
	tzdata := n.pkg("tzdata-2025b")
	return stdenvSpec{
		Pname: "nghttp2", Version: "1.70.0",
		Src:                    n.pkg("iibs:nghttp2-1.70.0.tar.bz2"),
		Outputs:                []string{"out", "dev", "lib", "doc", "man"},
		NativeBuildInputs:      n.pkgs("vpzn:pkg-config-wrapper-0.29.2", "install-shell-files"),
		BuildInputs:            n.pkgs("c-ares-1.34.8", "libev-4.33", "n5rk:zlib-1.3.2", "zpza:openssl-3.6.0"),
		EnableParallelBuilding: true,
		ConfigureFlags:         list{"--disable-examples", "--enable-app", "--disable-http3"},
		DoCheck:                true,
		NativeCheckInputs:      list{nil, tzdata},
		Attrs: env{
			"preCheck":    pixpkgs.Sprintf("export TZDIR=%s/share/zoneinfo\n", tzdata.Out("out")),
			"postPatch":   "substituteInPlace ./config.guess --replace-fail /usr/bin/uname uname\n",
			"postInstall": "installShellCompletion --bash doc/bash_completion/{h2load,nghttp,nghttpd,nghttpx}\n",
		},
	}
}

// pythonPackage completes the declaration of a Python package, as buildPythonPackage does.
func pythonPackage(n *nixpkgs, buildSystem string, s stdenvSpec) stdenvSpec {
	python := n.pkg("python3-3.13.9")
	s.Name = "python3.13-" + s.Pname + "-" + s.Version
	s.StrictDeps = true
	s.Outputs = append([]string{"out", "dist"}, s.Outputs...)
	s.NativeBuildInputs = slices.Concat(list{python}, n.pkgs(
		"wrap-python-hook", "ensure-newer-sources-hook", "python-remove-tests-dir-hook",
		"python-catch-conflicts-hook", "python-remove-bin-bytecode-hook", "djar:pypa-build-hook.sh",
		"y4dc:python-runtime-deps-check-hook.sh", "v5cj:pypa-install-hook", "python-imports-check-hook.sh",
		"python-namespaces-hook.sh", "python-output-dist-hook",
	), s.NativeBuildInputs, n.pkgs(buildSystem))
	s.PropagatedBuildInputs = append(s.PropagatedBuildInputs, python)
	s.DisallowedReferences = list{}
	s.Env = env{"LANG": "C.UTF-8"}
	attrs := env{"catchConflicts": true, "dontWrapPythonPrograms": false, "postFixup": "wrapPythonPrograms\n"}
	for name, value := range s.Attrs {
		attrs[name] = value
	}
	s.Attrs = attrs
	return s
}

func idna(n *nixpkgs) stdenvSpec {
	return pythonPackage(n, "python3.13-flit-core-3.12.0", stdenvSpec{
		Pname: "idna", Version: "3.18",
		Src:               n.pkg("idna-3.18-github-source"),
		Outputs:           []string{"test_src"},
		NativeBuildInputs: n.pkgs("python-output-test-src-hook"),
		Attrs:             env{"pythonImportsCheck": list{"idna"}, "testPaths": list{"tests"}},
	})
}

func markupsafe(n *nixpkgs) stdenvSpec {
	return pythonPackage(n, "python3.13-setuptools-80.9.0", stdenvSpec{
		Pname: "markupsafe", Version: "3.0.3",
		Src:   n.pkg("markupsafe-3.0.3-github-source"),
		Attrs: env{"pythonImportsCheck": list{"markupsafe"}},
	})
}

// proxyVariables are the variables of the host that curl uses, and mirrors the sites with mirrors.
var (
	proxyVariables = []string{
		"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
		"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "NIX_SSL_CERT_FILE",
		"NIX_CURL_FLAGS", "NIX_HASHED_MIRRORS", "NIX_CONNECT_TIMEOUT",
	}
	mirrors = []string{
		"alsa", "apache", "bioc", "bitlbee", "centos", "cpan", "cran", "debian", "dub", "fedora", "gcc", "gentoo", "gnome", "gnu",
		"gnupg", "hackage", "hashedMirrors", "ibiblioPubLinux", "imagemagick", "kde", "kernel", "luarocks", "maven", "mozilla",
		"mysql", "openbsd", "opensuse", "osdn", "postgresql", "pypi", "qt", "sageupstream", "samba", "savannah", "sourceforge",
		"steamrt", "tcsh", "testpypi", "ubuntu", "xfce", "xorg",
	}
)

// download declares a download with curl, as fetchurl of nixpkgs does.
func download(n *nixpkgs, name, mode, hash string, attrs env, urls ...string) stdenvSpec {
	variables := proxyVariables
	for _, mirror := range mirrors {
		variables = append(variables[:len(variables):len(variables)], "NIX_MIRRORS_"+mirror)
	}
	all := env{
		"urls": urls, "hash": hash, "impureEnvVars": variables, "mirrorsFile": n.pkg("mirrors-list"), "preferLocalBuild": true,
		"curlOpts": "", "curlOptsList": list{}, "downloadToTemp": false, "executable": false, "postFetch": "",
		"preferHashedMirrors": false, "showURLs": false,
	}
	for name, value := range attrs {
		all[name] = value
	}
	return stdenvSpec{
		Name: name, OutputHash: hash, OutputHashMode: mode,
		Builder:           n.source("rhgi:builder.sh"),
		NativeBuildInputs: n.pkgs("4r6y:curl-8.17.0"),
		Env:               env{"SSL_CERT_FILE": "/no-cert-file.crt"},
		Attrs:             all,
	}
}

func attrsTarball(n *nixpkgs) stdenvSpec {
	return download(n, "attrs-26.1.0.tar.gz", "flat", "sha256-0DzricsyKo/XBtT7kZQHN7ZkKqNpmP4TCpvJbJhe/zI=", nil,
		"mirror://pypi/a/attrs/attrs-26.1.0.tar.gz")
}

// idnaSource downloads and unpacks a revision of a repository, as fetchFromGitHub does.
func idnaSource(n *nixpkgs) stdenvSpec {
	return download(n, "idna-3.18-github-source", "recursive", "sha256-9nLy/9PNuLSQJsf4Jes0uN695+LGjz2LXlfiZxxvGV4=", env{
		"owner": "kjd", "repo": "idna", "tag": "v3.18", "rev": "refs/tags/v3.18", "githubBase": "github.com",
		"extension": "tar.gz", "downloadToTemp": true, "recursiveHash": true, "stripRoot": true, "postFetch": unpackRoot,
	}, "https://github.com/kjd/idna/archive/refs/tags/v3.18.tar.gz")
}

// unpackRoot is the script with which fetchzip unpacks the only directory of an archive.
const unpackRoot = `unpackDir="$TMPDIR/unpack"
mkdir "$unpackDir"
cd "$unpackDir"

renamed="$TMPDIR/download.tar.gz"
mv "$downloadedFile" "$renamed"
unpackFile "$renamed"
chmod -R +w "$unpackDir"
if [ $(ls -A "$unpackDir" | wc -l) != 1 ]; then
  echo "error: zip file must contain a single file or directory."
  echo "hint: Pass stripRoot=false; to fetchzip to assume flat list of files."
  exit 1
fi
fn=$(cd "$unpackDir" && ls -A)
if [ -f "$unpackDir/$fn" ]; then
  mkdir $out
fi
mv "$unpackDir/$fn" "$out"


chmod 755 "$out"
`

// command completes the declaration of a package that one command builds, as runCommand does.
func command(s stdenvSpec, script any) stdenvSpec {
	s.EnableParallelBuilding = true
	attrs := env{"buildCommand": script, "passAsFile": list{"buildCommand"}}
	for name, value := range s.Attrs {
		attrs[name] = value
	}
	s.Attrs = attrs
	return s
}

// dieHook is a setup hook.
func dieHook(n *nixpkgs) stdenvSpec {
	return command(stdenvSpec{Name: "die-hook", StrictDeps: true}, pixpkgs.Sprintf(`mkdir -p $out/nix-support
cp %s $out/nix-support/setup-hook
recordPropagatedDependencies
`, n.source("die.sh")))
}
