package closure

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

// realistic returns a closure of thirty paths as in a real store: an application and its libraries.
func realistic(t testing.TB) *Closure {
	var infos []*store.PathInfo
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
		paths[words[0]], infos = path, append(infos, info)
	}
	return closureOf(t, infos)
}

// draw returns the picture of a closure, and whether its layout is simplified.
func draw(t testing.TB, c *Closure) (svg string, simplified bool) {
	t.Helper()
	layout, err := c.Layout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := layout.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.String(), layout.Simplified
}

// keepPicture writes a picture into the directory PIX_PICTURES, for a person to look at.
func keepPicture(t *testing.T, name, svg string) {
	if dir := os.Getenv("PIX_PICTURES"); dir != "" {
		if err := os.WriteFile(dir+"/"+name, []byte(svg), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// A picture is well-formed XML and the same every time. No two of its boxes overlap.
func TestSVG(t *testing.T) {
	c := realistic(t)
	svg, simplified := draw(t, c)
	if simplified {
		t.Error("the layout of 30 paths is simplified")
	}
	keepPicture(t, "realistic.svg", svg)
	for range 5 {
		if again, _ := draw(t, c); again != svg {
			t.Fatal("two pictures of the same closure differ")
		}
	}
	if n := elements(t, svg)["text"]; n != 2*c.Len() {
		t.Errorf("%d texts", n)
	}
	layout, err := c.Layout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkLayout(t, layout)
	for _, infos := range [][]*store.PathInfo{nil, {{Path: onePath, References: []storepath.Path{onePath}}}} {
		svg, _ := draw(t, closureOf(t, infos))
		elements(t, svg)
	}
}

const onePath storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-one"

// checkLayout checks that no boxes of a layer overlap and that each edge leads to the next layer.
func checkLayout(t *testing.T, l *Layout) {
	t.Helper()
	for _, layer := range l.layers {
		for i := 1; i < len(layer); i++ {
			above, below := l.vertices[layer[i-1]], l.vertices[layer[i]]
			if below.y-below.height()/2 < above.y+above.height()/2+pathGap-0.001 {
				t.Errorf("%+v overlaps %+v", above, below)
			}
		}
	}
	for i, v := range l.vertices {
		for _, to := range v.right {
			if l.vertices[to].layer != v.layer+1 {
				t.Errorf("the edge from vertex %d to %d skips a layer", i, to)
			}
		}
	}
}

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

// A picture of 10,000 paths takes seconds, not minutes.
func TestSVGOfMany(t *testing.T) {
	c := randomClosure(t, 10_000)
	start := time.Now()
	svg, simplified := draw(t, c)
	if !simplified {
		t.Error("the layout of 10,000 paths is not simplified")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("drawing took %v", took)
	}
	t.Logf("%d bytes in %v", len(svg), time.Since(start))
	keepPicture(t, "many.svg", svg)
}
