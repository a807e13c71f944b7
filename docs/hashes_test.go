package docs_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	"pix/nixbase32"
	"pix/nixhash"
)

// fold compresses a digest to size bytes.
func fold(digest []byte, size int) []byte {
	folded := make([]byte, size)
	for i, b := range digest {
		folded[i%size] ^= b
	}
	return folded
}

func TestHashesPage(t *testing.T) {
	h := nixhash.Sum(nixhash.SHA256, []byte("hello world"))
	var lengths []string
	for _, a := range []nixhash.Algorithm{nixhash.MD5, nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.BLAKE3} {
		n := nixhash.Sum(a, nil).Algorithm().Size()
		lengths = append(lengths, fmt.Sprintf("%s\t%d\t%d\t%d\t%d", a, n, hex.EncodedLen(n), nixbase32.EncodedLen(n), base64.StdEncoding.EncodedLen(n)))
	}
	folded := fold(h.Digest(), 20)
	if string(folded) != string(nixhash.Compress(h.Digest(), 20)) {
		t.Error("fold differs from nixhash")
	}
	check(t, "hashes.md", map[string]string{
		"spellings": table(
			"base 16\t"+h.Base16(),
			"base 32\t"+h.Nix32(),
			"base 64\t"+h.Base64(),
			"with its algorithm\t"+h.WithBase16(),
			"\t"+h.WithNix32(),
			"\t"+h.WithBase64(),
			"SRI\t"+h.SRI(),
		),
		"lengths": table(append([]string{"algorithm\tbytes\tbase 16\tbase 32\tbase 64"}, lengths...)...),
		"fold":    source(t, "hashes_test.go", "fold"),
		"folded": table(
			"the digest\t"+hex.EncodeToString(h.Digest()),
			"its first 20 bytes\t"+hex.EncodeToString(h.Digest()[:20]),
			"the other 12\t"+hex.EncodeToString(h.Digest()[20:]),
			"folded\t"+hex.EncodeToString(folded),
			"in base 32\t"+nixbase32.EncodeToString(folded),
		),
	})
}
