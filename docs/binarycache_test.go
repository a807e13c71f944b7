package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// exampleKey is the secret key in an example of Nix's manual.
const exampleKey = "cache.example.org-0:E7lAO+MsPwTFfPXsdPtW8GKui/5ho4KQHVcAGnX+Tti1V4dUxoVoqLyWJ4YESuZJwQ67GVIksDt47og+tPVUZw=="

func TestBinaryCachePage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "greeting")
	checkErr(t, os.WriteFile(file, []byte("hello from a build\n"), 0o666))
	b := archive(t, file)
	hash := nixhash.Sum(nixhash.SHA256, b)
	info := &store.PathInfo{
		Path:    "/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting",
		Deriver: "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv",
		NARHash: hash, NARSize: uint64(len(b)),
		References: []storepath.Path{"/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"},
	}
	key, err := signature.ParseSecretKey(exampleKey)
	checkErr(t, err)
	checkErr(t, info.Sign(key))
	text, err := narinfo.New(info, "none", hash, uint64(len(b))).AppendText(nil)
	checkErr(t, err)
	print, err := info.Fingerprint()
	checkErr(t, err)
	good, err := info.CheckSignatures(signature.NewKeySet(key.Public()))
	checkErr(t, err)
	if len(good) != 1 {
		t.Error("the signature is wrong")
	}
	list, err := nar.ReadListing(bytes.NewReader(b))
	checkErr(t, err)
	ls, err := nar.MarshalLS(list)
	checkErr(t, err)
	check(t, "binary-cache.md", map[string]string{
		"name":        narinfo.FileName(info.Path),
		"narinfo":     string(text),
		"secret":      key.Reveal(),
		"public":      key.Public().String(),
		"fingerprint": string(print),
		"signature":   info.Signatures[0],
		"listing":     string(ls) + "\n",
	})
}
