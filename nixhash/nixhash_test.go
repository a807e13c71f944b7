package nixhash_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/nixhash"
)

func Example() {
	h := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	fmt.Println(h.WithBase16())
	fmt.Println(h.WithNix32())
	fmt.Println(h.SRI())
	// Output:
	// sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
	// sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
	// sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=
}

func ExampleCompress() {
	h := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	fmt.Printf("%x\n", nixhash.Compress(h.Digest(), 20))
	// Output: 2c6f6c233b11308bb34155735dae2223b00361a3
}

func TestKnownDigests(t *testing.T) {
	// From RFC 1321, RFC 3174, RFC 4634 and, for BLAKE3, Nix's own test.
	for _, c := range []struct {
		algo       nixhash.Algorithm
		text, want string
	}{
		{nixhash.MD5, "abc", "md5:900150983cd24fb0d6963f7d28e17f72"},
		{nixhash.SHA1, "abc", "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"},
		{nixhash.SHA256, "", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{nixhash.SHA512, "abc", "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		{nixhash.BLAKE3, "abc", "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"},
	} {
		h := nixhash.Sum(c.algo, []byte(c.text))
		if h.WithBase16() != c.want {
			t.Errorf("%s of %q = %s, want %s", c.algo, c.text, h.WithBase16(), c.want)
		}
		for _, spelling := range []string{h.WithBase16(), h.WithNix32(), h.WithBase64(), h.SRI(), strings.TrimRight(h.SRI(), "=")} {
			if again, err := nixhash.Parse(spelling); err != nil || again != h {
				t.Errorf("Parse(%q) = %v, %v", spelling, again, err)
			}
			if again, err := nixhash.ParseAny(spelling, c.algo); err != nil || again != h {
				t.Errorf("ParseAny(%q) = %v, %v", spelling, again, err)
			}
		}
		for _, spelling := range []string{h.Base16(), strings.ToUpper(h.Base16()), h.Nix32(), h.Base64()} {
			if again, err := nixhash.ParseUnprefixed(spelling, c.algo); err != nil || again != h {
				t.Errorf("ParseUnprefixed(%q) = %v, %v", spelling, again, err)
			}
		}
	}
}

func TestParseRejectsInvalid(t *testing.T) {
	good := nixhash.Sum(nixhash.SHA256, nil)
	for _, s := range []string{
		"", "sha256", "sha256:", "sha256-", ":", "-",
		good.Base16(), // no algorithm
		"sha3:" + good.Base16(), "SHA256:" + good.Base16(),
		"sha1:" + good.Base16(), "sha256:" + good.Base16()[1:], "sha256:" + good.Base16() + "0",
		"sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("e", 52),
		"sha256:" + strings.Repeat("z", 52), // more than 256 bits
		"sha256-" + strings.Repeat("A", 42), "sha256-" + strings.Repeat("A", 44), "sha256-" + strings.Repeat("*", 43),
		"sha256-" + good.Base16(), "sha256:" + strings.Repeat("0", 1<<20),
	} {
		h, err := nixhash.Parse(s)
		var syntax *nixhash.SyntaxError
		if !errors.As(err, &syntax) || !h.IsZero() {
			t.Errorf("Parse(%.80q) = %v, %v, want a SyntaxError", s, h, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("Parse of %d characters: the error message has %d", len(s), len(err.Error()))
		}
	}
	if _, err := nixhash.ParseAny(good.SRI(), nixhash.SHA1); err == nil {
		t.Error("ParseAny accepted a SHA-256 as a SHA-1")
	}
	if _, err := nixhash.FromDigest(nixhash.SHA1, make([]byte, 32)); err == nil {
		t.Error("FromDigest accepted 32 bytes as a SHA-1")
	}
	if _, err := nixhash.ParseSRI(good.WithBase64()); err == nil {
		t.Error("ParseSRI accepted a colon instead of a dash")
	}
}

func TestUnmarshalText(t *testing.T) {
	var h nixhash.Hash
	if err := h.UnmarshalText([]byte("sha256-8OTC92xYkW7CWPJGhRvqCR0U1CR6L8PhhpRGGxgW4Ts=")); err != nil || h != nixhash.Sum(nixhash.SHA256, []byte("asdf")) {
		t.Errorf("%v, %v", h, err)
	}
	if err := h.UnmarshalText(nil); err != nil || !h.IsZero() {
		t.Errorf("an empty text: %v, %v", h, err)
	}
}

func FuzzParse(f *testing.F) {
	h := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	f.Add(h.WithBase16())
	f.Add(h.WithNix32())
	f.Add(h.SRI())
	f.Fuzz(func(t *testing.T, s string) {
		h, err := nixhash.Parse(s)
		if err != nil {
			return
		}
		for _, spelling := range []string{h.WithBase16(), h.WithNix32(), h.WithBase64(), h.SRI()} {
			if again, err := nixhash.Parse(spelling); err != nil || again != h {
				t.Errorf("Parse(%q) = %v, but Parse(%q) = %v, %v", s, h, spelling, again, err)
			}
		}
	})
}
