package docs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"pix/nixbase32"
)

// encode encodes bytes in Nix's base 32.
func encode(src []byte) string {
	const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"
	text := make([]byte, (len(src)*8+4)/5)
	for n := range text {
		bit := n * 5 // the lowest bit of digit n, counted from the lowest bit of src[0]
		i, shift := bit/8, bit%8
		digit := src[i] >> shift
		if i+1 < len(src) {
			digit |= src[i+1] << (8 - shift)
		}
		text[len(text)-1-n] = alphabet[digit&31] // the first digit is the last character
	}
	return string(text)
}

func TestBase32Page(t *testing.T) {
	const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 100 {
		src := make([]byte, n)
		for i := range src {
			src[i] = byte(random.Uint32())
		}
		if got, want := encode(src), nixbase32.EncodeToString(src); got != want {
			t.Fatalf("encode(%x) = %s, want %s", src, got, want)
		}
	}
	spell := func(src ...byte) string { return hexBytes(src) + "\t" + encode(src) }
	sum := sha256.Sum256([]byte("hello world"))
	reversed := bytes.Clone(sum[:])
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	check(t, "base-32.md", map[string]string{
		"alphabet": alphabet,
		"encode":   source(t, "base32_test.go", "encode"),
		"small": table(
			spell(0x00), spell(0x01), spell(0x1f), spell(0x20), spell(0xff),
			spell(0x01, 0x00), spell(0x00, 0x01), spell(0xff, 0xff),
		),
		"digest": table(
			"base 16\t"+hex.EncodeToString(sum[:]),
			"Nix's base 32\t"+encode(sum[:]),
			"RFC 4648's base 32\t"+base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]),
		),
		"suffix": table(
			spell(0xaa, 0xbb, 0xcc, 0x00, 0x00),
			spell(0xaa, 0xbb, 0xcc, 0xff, 0xff),
		),
	})
	for _, bad := range []string{"80", "01e", "F0"} { // as the page says
		if _, err := nixbase32.DecodeString(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
