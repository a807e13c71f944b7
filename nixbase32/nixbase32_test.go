package nixbase32_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"pix/nixbase32"
)

func ExampleEncodeToString() {
	digest, _ := hex.DecodeString("0839703786356bca59b0f4a32987eb2e6de43ae8")
	fmt.Println(nixbase32.EncodeToString(digest))
	// Output: x0xf8v9fxf3jk8zln1cwlsrmhqvp0f88
}

// The pairs come from Nix's own tests (src/libutil-tests/base-n.cc, hash.cc).
var pairs = []struct{ hex, text string }{
	{"", ""},
	{"1f", "0z"},
	{"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"},
	{"0839703786356bca59b0f4a32987eb2e6de43ae8", "x0xf8v9fxf3jk8zln1cwlsrmhqvp0f88"},
	{"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		"2gs8k559z4rlahfx0y688s49m2vvszylcikrfinm30ly9rak69236nkam5ydvly1ai7xac99vxfc4ii84hawjbk876blyk1jfhkbbyx"},
}

func TestPairs(t *testing.T) {
	for _, p := range pairs {
		digest, err := hex.DecodeString(p.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got := nixbase32.EncodeToString(digest); got != p.text {
			t.Errorf("EncodeToString(%s) = %q, want %q", p.hex, got, p.text)
		}
		got, err := nixbase32.DecodeString(p.text)
		if err != nil || !bytes.Equal(got, digest) {
			t.Errorf("DecodeString(%q) = %x, %v, want %s", p.text, got, err, p.hex)
		}
	}
}

func TestDecodeRejectsInvalid(t *testing.T) {
	for _, c := range []struct {
		text   string
		offset int
	}{
		{"x0xf8v9fxf3jk8zln1cwlsrmhqvp0f8e", 31}, // e is not a digit
		{"X0xf8v9fxf3jk8zln1cwlsrmhqvp0f88", 0},  // upper case is not in the alphabet
		{"x0xf8v9f xf3jk8zln1cwlsrmhqvp0f8", 8},
		{"zz", 0},  // ten bits, which do not fit into one byte
		{"0", 1},   // five bits are less than a byte
		{"000", 3}, // fifteen bits: one byte has two characters, two bytes have four
		{"2b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s", 0}, // the first digit of a SHA-256 is at most 1
	} {
		_, err := nixbase32.DecodeString(c.text)
		var syntax *nixbase32.SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != c.offset {
			t.Errorf("DecodeString(%q): %v, want an error at offset %d", c.text, err, c.offset)
		}
	}
}

func TestIsDigits(t *testing.T) {
	for s, want := range map[string]bool{"": true, nixbase32.Alphabet: true, "0e": false, "A": false, "0é": false} {
		if got := nixbase32.IsDigits(s); got != want {
			t.Errorf("IsDigits(%q) = %v", s, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range pairs {
		f.Add(p.text)
	}
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := nixbase32.DecodeString(s)
		if err != nil {
			return
		}
		if again := nixbase32.EncodeToString(b); again != s {
			t.Errorf("%q decodes to %x, which encodes to %q", s, b, again)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	digest := make([]byte, 20)
	dst := make([]byte, 0, 32)
	b.SetBytes(20)
	for b.Loop() {
		dst = nixbase32.AppendEncode(dst[:0], digest)
	}
}
