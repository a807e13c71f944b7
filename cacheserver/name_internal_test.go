package cacheserver

import (
	"slices"
	"strings"
	"testing"
)

const (
	testHashPart = "n5wkd9frr45pa74if5gpz9j7mifg27fh"
	testHash     = "1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3"
	testOutput   = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad!out"
)

func TestParseName(t *testing.T) {
	for path, want := range map[string]kind{
		"/": kindStart, "/health": kindHealth, "/nix-cache-info": kindCacheInfo, "/nix%2dcache-info": kindCacheInfo,
		"/" + testHashPart + ".narinfo": kindNarInfo,
		"/" + testHashPart + ".ls":      kindListing,
		"/nar/" + testHash + ".nar":     kindArchive, "/nar/" + testHash + ".nar.xz": kindArchive,
		"/nar/" + testHashPart + "-" + testHash + ".nar":                                            kindArchive,
		"/nar/" + testHashPart + "-" + testHash + ".nar.zst":                                        kindArchive,
		"/log/" + testHashPart + "-a.drv":                                                           kindLog,
		"/realisations/" + testOutput + ".doi":                                                      kindRealisation,
		"/realisations/" + strings.NewReplacer(":", "%3A", "!", "%21").Replace(testOutput) + ".doi": kindRealisation,
		"/build-trace-v2/" + testHashPart + "-a.drv/out.doi":                                        kindTrace,
		"/serve/" + testHashPart:                                                                    kindFiles, "/serve/" + testHashPart + "/": kindFiles,
		"/serve/" + testHashPart + "/bin/hello%20world": kindFiles,

		"": kindNone, "nix-cache-info": kindNone, "//": kindNone, "//nix-cache-info": kindNone, "/nix-cache-info/": kindNone,
		"/./nix-cache-info": kindNone, "/../nix-cache-info": kindNone, "/%2e%2e/nix-cache-info": kindNone, "/nix-cache-info%00": kindNone,
		"/nar%2f" + testHash + ".nar": kindNone, "/nar/": kindNone, "/nar/x.nar": kindNone, "/nar//" + testHash + ".nar": kindNone,
		"/nar/../" + testHash + ".nar": kindNone, "/nar/" + testHash + ".nar/": kindNone, "/nar/" + testHash + ".narx": kindNone,
		"/nar/" + testHash + ".nar.": kindNone, "/nar/" + testHash: kindNone, "/nar/" + testHash + ".nar/../..": kindNone,
		"/nar/" + strings.ToUpper(testHash) + ".nar": kindNone,
		"/" + testHashPart[1:] + ".narinfo":          kindNone,
		"/" + testHashPart + "0.narinfo":             kindNone,
		"/e" + testHashPart[1:] + ".narinfo":         kindNone, // not a digit of base 32
		"/log/":                                      kindNone, "/log/a/b": kindNone, "/realisations/x.doi": kindNone,
		"/realisations/" + testOutput:                             kindNone,
		"/build-trace-v2/" + testHashPart + "-a.drv":              kindNone,
		"/build-trace-v2/" + testHashPart + "-a.drv/..%2fout.doi": kindNone,
		"/serve": kindNone, "/serve/": kindNone, "/serve/" + testHashPart + "//": kindNone,
		"/serve/" + testHashPart + "/../x": kindNone, "/serve/" + testHashPart + "/%2e%2e/x": kindNone,
		"/serve/" + testHashPart + "/a%2fb": kindNone, "/serve/" + testHashPart + "/%zz": kindNone,
		"/" + strings.Repeat("x", 1<<20): kindNone, "/%": kindNone,
	} {
		if got := parseName(path); got.kind != want {
			t.Errorf("%.100q is %s, want %s", path, kindNames[got.kind], kindNames[want])
		}
	}
}

// However a path is escaped, it names nothing above the directory of its kind.
func FuzzParseName(f *testing.F) {
	for _, path := range []string{
		"/", "/nix-cache-info", "/" + testHashPart + ".narinfo", "/nar/" + testHashPart + "-" + testHash + ".nar.zst",
		"/log/" + testHashPart + "-a.drv", "/realisations/" + testOutput + ".doi", "/serve/" + testHashPart + "/a/%2e%2e/b//",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		n := parseName(path)
		parts := slices.Clone(n.inside)
		if len(parts) > 0 && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1]
		}
		parts = append(parts, n.drv+"x", n.output.Output+"x", n.compression+"x")
		for _, part := range parts {
			if !isFileName(part) {
				t.Errorf("%q has the part %q", path, part)
			}
		}
		if n.hashPart != "" && !isHashPart(n.hashPart) {
			t.Errorf("%q has the hash part %q", path, n.hashPart)
		}
	})
}

func TestMatchesETag(t *testing.T) {
	for _, c := range []struct {
		list, etag string
		weak, want bool
	}{
		{`"a"`, `"a"`, false, true}, {`"b", "a"`, `"a"`, false, true}, {`W/"a"`, `"a"`, true, true}, {`W/"a"`, `"a"`, false, false},
		{`*`, `"a"`, false, true}, {`"b"`, `"a"`, true, false}, {``, `"a"`, true, false}, {`a`, `"a"`, true, false}, {`"a`, `"a"`, true, false},
		{`,,"x" , "a"`, `"a"`, true, true}, {`"x" garbage "a"`, `"a"`, true, false},
	} {
		if got := matchesETag(c.list, c.etag, c.weak); got != c.want {
			t.Errorf("matchesETag(%q, %q, %v) = %v", c.list, c.etag, c.weak, got)
		}
	}
}
