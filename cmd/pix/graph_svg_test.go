package main

import (
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"pix/store"
	"pix/storepath"
)

// realistic is a closure of thirty paths as people have them: an application, its libraries and
// what all of them need.
func realistic(t testing.TB) map[storepath.Path]*store.PathInfo {
	known := make(map[storepath.Path]*store.PathInfo)
	paths := make(map[string]storepath.Path)
	for i, line := range []string{
		"xgcc-13.3.0-libgcc", "libunistring-1.2", "libidn2-2.3.7 libunistring-1.2", "glibc-2.40-36 xgcc-13.3.0-libgcc libidn2-2.3.7",
		"gcc-13.3.0-lib glibc-2.40-36 xgcc-13.3.0-libgcc", "zlib-1.3.1 glibc-2.40-36", "bzip2-1.0.8 glibc-2.40-36", "xz-5.6.3 glibc-2.40-36",
		"bash-5.2p37 glibc-2.40-36", "attr-2.5.2 glibc-2.40-36", "acl-2.3.2 attr-2.5.2 glibc-2.40-36", "gmp-with-cxx-6.3.0 gcc-13.3.0-lib glibc-2.40-36",
		"coreutils-9.5 acl-2.3.2 attr-2.5.2 gmp-with-cxx-6.3.0 glibc-2.40-36", "openssl-3.3.2 glibc-2.40-36", "libssh2-1.11.1 openssl-3.3.2 zlib-1.3.1 glibc-2.40-36",
		"nghttp2-1.64.0-lib glibc-2.40-36", "zstd-1.5.6 glibc-2.40-36", "brotli-1.1.0-lib glibc-2.40-36", "keyutils-1.6.3-lib glibc-2.40-36",
		"libkrb5-1.21.3 keyutils-1.6.3-lib openssl-3.3.2 bash-5.2p37 glibc-2.40-36",
		"curl-8.11.0 openssl-3.3.2 libssh2-1.11.1 nghttp2-1.64.0-lib zlib-1.3.1 zstd-1.5.6 brotli-1.1.0-lib libkrb5-1.21.3 libidn2-2.3.7 glibc-2.40-36",
		"ncurses-6.4.20221231 glibc-2.40-36", "readline-8.2p13 ncurses-6.4.20221231 glibc-2.40-36", "sqlite-3.46.1 zlib-1.3.1 glibc-2.40-36 readline-8.2p13",
		"expat-2.6.4 glibc-2.40-36", "libffi-3.4.6 glibc-2.40-36", "python3-3.12.8 expat-2.6.4 libffi-3.4.6 sqlite-3.46.1 openssl-3.3.2 readline-8.2p13 xz-5.6.3 bzip2-1.0.8 zlib-1.3.1 bash-5.2p37 glibc-2.40-36",
		"perl-5.40.0 coreutils-9.5 zlib-1.3.1 glibc-2.40-36", "gnugrep-3.11 bash-5.2p37 glibc-2.40-36",
		"git-2.47.0 curl-8.11.0 python3-3.12.8 perl-5.40.0 expat-2.6.4 zlib-1.3.1 gnugrep-3.11 coreutils-9.5 bash-5.2p37 glibc-2.40-36 openssl-3.3.2",
	} {
		words := strings.Fields(line)
		path, err := storepath.DefaultDir.ParseBase(strings.Repeat(string("abcdfghijklmnpqrsvwxyz0123456789"[i]), 32) + "-" + words[0])
		if err != nil {
			t.Fatal(err)
		}
		info := &store.PathInfo{Path: path, NARSize: uint64(len(line)) * 123_456}
		for _, ref := range words[1:] {
			info.References = append(info.References, paths[ref])
		}
		paths[words[0]], known[path] = path, info
	}
	return known
}

// With PIX_PICTURES=DIR the pictures are left there, to be looked at.
func keepPicture(t *testing.T, name, svg string) {
	if dir := os.Getenv("PIX_PICTURES"); dir != "" {
		if err := os.WriteFile(dir+"/"+name, []byte(svg), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// A picture is XML, is always the same, and in it no two boxes touch.
func TestSVG(t *testing.T) {
	known := realistic(t)
	svg, careful, err := svgGraph(known)
	if err != nil || !careful {
		t.Fatal(careful, err)
	}
	keepPicture(t, "realistic.svg", svg)
	for range 5 {
		if again, _, _ := svgGraph(known); again != svg {
			t.Fatal("it is another picture each time")
		}
	}
	if n := elements(t, svg)["text"]; n != 2*len(known) {
		t.Errorf("%d texts", n)
	}
	g, err := inLayers(known)
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range g.layers {
		for i := 1; i < len(layer); i++ {
			above, below := g.vertices[layer[i-1]], g.vertices[layer[i]]
			if below.y-below.height()/2 < above.y+above.height()/2+pathGap-0.001 {
				t.Errorf("%+v touches %+v", above, below)
			}
		}
	}
	for i, v := range g.vertices {
		for _, to := range v.behind {
			if g.vertices[to].layer != v.layer+1 {
				t.Errorf("an edge from %d to %d leads over a layer", i, to)
			}
		}
	}
	for _, none := range []map[storepath.Path]*store.PathInfo{nil, {absentPath: {Path: absentPath, References: []storepath.Path{absentPath}}}} {
		svg, _, err := svgGraph(none)
		if err != nil {
			t.Fatal(err)
		}
		elements(t, svg)
	}
}

const absentPath storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent"

// elements counts the elements of an XML text.
func elements(t *testing.T, text string) map[string]int {
	t.Helper()
	count := make(map[string]int)
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return count
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
}

// A picture of ten thousand paths is made in a time that is no nuisance.
func TestSVGOfMany(t *testing.T) {
	known := randomClosure(10_000)
	start := time.Now()
	svg, careful, err := svgGraph(known)
	if err != nil || careful {
		t.Fatal(careful, err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	t.Logf("%d bytes in %v", len(svg), time.Since(start))
	keepPicture(t, "many.svg", svg)
}
