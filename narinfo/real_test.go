package narinfo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// build builds a file that refers to another, and returns its path.
func build(t *testing.T, d *realnix.Daemon) storepath.Path {
	t.Helper()
	out := d.MustRun(t, "nix-build", "--no-out-link", "--expr", `derivation {
		name = "foo"; system = builtins.currentSystem;
		builder = "/bin/sh"; args = ["-c" "echo $bar > $out"]; bar = builtins.toFile "bar" "x";
	}`)
	p, err := storepath.DefaultDir.Parse(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// generate generates a key with Nix and parses it.
func generate(t *testing.T, d *realnix.Daemon) (secret signature.SecretKey, file string) {
	t.Helper()
	d.MustRun(t, "nix-store", "--generate-binary-cache-key", "real-1", "/tmp/secret", "/tmp/public")
	secret, err := signature.ParseSecretKey(read(t, d, "/tmp/secret"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(read(t, d, "/tmp/public")); secret.Public().String() != want {
		t.Errorf("the public key is %s, in Nix it is %s", secret.Public(), want)
	}
	return secret, "/tmp/secret"
}

func read(t *testing.T, d *realnix.Daemon, path string) string {
	t.Helper()
	text, err := os.ReadFile(d.HostPath(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, d *realnix.Daemon, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.HostPath(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.HostPath(path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Files that Nix writes are parsed, print as the same bytes, and verify. Pix and Nix make
// the same signatures.
func TestRealCache(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		path := build(t, d)
		secret, file := generate(t, d)
		for _, compression := range []string{"none", "xz", "bzip2"} {
			cache := "/tmp/cache-" + compression
			d.MustRun(t, "nix", "copy", "--to", "file://"+cache+"?compression="+compression+"&secret-key="+file, string(path))
			files, err := filepath.Glob(filepath.Join(d.HostPath(cache), "*.narinfo"))
			if err != nil || len(files) != 2 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			for _, file := range files {
				text := read(t, d, cache+"/"+filepath.Base(file))
				n, err := narinfo.Parse(text, nil)
				if err != nil {
					t.Errorf("%v:\n%s", err, text)
					continue
				}
				if got := show(t, n); got != text {
					t.Errorf("it prints as\n%sin Nix it is\n%s", got, text)
				}
				if narinfo.FileName(n.Path) != filepath.Base(file) || n.Compression != compression {
					t.Errorf("%s: %+v", file, n)
				}
				if got := narinfo.ArchiveURL(n.FileHash, compression); got != n.URL {
					t.Errorf("ArchiveURL is %s, in Nix it is %s", got, n.URL)
				}
				good, err := n.CheckSignatures(signature.NewKeySet(secret.Public()))
				if err != nil || len(good) != 1 {
					t.Errorf("%v, %v of\n%s", good, err, text)
				}
				if built := n.Path == path; n.IsContentAddressed() == built || (n.Deriver != "") != built || len(n.References) == 1 != built {
					t.Errorf("%+v", n)
				}
				ours := *n
				ours.Signatures = nil
				if err := ours.Sign(secret); err != nil || !reflect.DeepEqual(&ours, n) {
					t.Errorf("pix signs %q, Nix signs %q", ours.Signatures, n.Signatures)
				}
			}
		}
	})
}

// Nix verifies the signatures of pix.
func TestRealVerify(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		path := build(t, d)
		d.MustRun(t, "nix", "copy", "--to", "file:///tmp/cache?compression=none", string(path))
		file := "/tmp/cache/" + narinfo.FileName(path)
		n := parse(t, read(t, d, file), nil)
		key, err := signature.GenerateKey("ours-1")
		if err != nil {
			t.Fatal(err)
		}
		verify := []string{"nix", "store", "verify"}
		if strings.HasPrefix(d.Version, "2.3.") {
			verify = []string{"nix", "verify"}
		}
		verify = append(verify, "--store", "file:///tmp/cache", "--option", "trusted-public-keys", key.Public().String(), "--sigs-needed", "1", string(path))

		for what, c := range map[string]struct {
			change func(n *narinfo.NarInfo)
			taken  bool
		}{
			"signed":   {func(n *narinfo.NarInfo) {}, true},
			"unsigned": {func(n *narinfo.NarInfo) { n.Signatures = nil }, false},
			"changed":  {func(n *narinfo.NarInfo) { n.References = nil }, false},
			"unknown keys": {func(n *narinfo.NarInfo) {
				n.Unknown = []narinfo.Field{{Key: "X-Cache", Value: "x"}}
			}, true},
		} {
			signed := *n
			if err := signed.Sign(key); err != nil {
				t.Fatal(err)
			}
			c.change(&signed)
			write(t, d, file, show(t, &signed))
			if _, stderr, err := d.Run(verify...); (err == nil) != c.taken {
				t.Errorf("%s: %v\n%s", what, err, stderr)
			}
		}
	})
}

// Nix and pix accept and reject the same files, with the same meaning.
func TestRealVerdicts(t *testing.T) {
	s := realnix.Get(t, "sid")
	if !strings.HasPrefix(s.Version, "2.34.") {
		t.Skipf("the verdicts are for Nix 2.34, not for %s", s.Version)
	}
	d := realnix.Start(t, s, nil)
	for i, v := range verdicts {
		write(t, d, fmt.Sprintf("/tmp/v/%d/%s", i, narinfo.FileName(foo)), v.text)
		write(t, d, fmt.Sprintf("/tmp/v/%d/nix-cache-info", i), "StoreDir: /nix/store\n")
	}
	d.MustRun(t, "sh", "-c", `for dir in /tmp/v/*; do
		nix path-info --store file://$dir --json --json-format 1 `+string(foo)+` >$dir/out 2>$dir/err || rm $dir/out
	done`)
	for i, v := range verdicts {
		n, err := narinfo.Parse(v.text, nil)
		out, missing := os.ReadFile(d.HostPath(fmt.Sprintf("/tmp/v/%d/out", i)))
		if (err == nil) != (missing == nil) {
			t.Errorf("%s: pix returns %v, Nix returns %s\n%s", v.what, err, out, read(t, d, fmt.Sprintf("/tmp/v/%d/err", i)))
		}
		if err != nil || missing != nil {
			continue
		}
		var infos map[storepath.Path]json.RawMessage
		if err := json.Unmarshal(out, &infos); err != nil {
			t.Fatal(err)
		}
		theirs, err := narinfo.ParseJSON(foo, infos[foo])
		n.Unknown = nil // Nix does not keep unknown keys
		if err != nil || !reflect.DeepEqual(theirs, n) {
			t.Errorf("%s: pix has\n%+v, Nix has\n%+v, %v", v.what, n, theirs, err)
		}
		if ours, err := n.JSON(store.PathInfoJSON{Version: 1}); err != nil || string(ours) != string(infos[foo]) {
			t.Errorf("%s: as JSON it is\n%s, %v, in Nix it is\n%s", v.what, ours, err, infos[foo])
		}
	}
}

// Nix and pix accept the same secret keys.
func TestRealKeys(t *testing.T) {
	s := realnix.Get(t, "sid")
	d := realnix.Start(t, s, nil)
	secret, file := generate(t, d)
	whole := read(t, d, file)
	for what, text := range map[string]string{
		"as it is":             whole,
		"a line feed":          whole + "\n",
		"line feeds inside":    whole[:30] + "\n\n" + whole[30:],
		"without padding":      strings.TrimRight(whole, "="),
		"more behind padding":  whole + "=!",
		"nothing":              "",
		"no name":              strings.TrimPrefix(whole, "real-1"),
		"a name alone":         "real-1:",
		"a public key":         secret.Public().String(),
		"a carriage return":    whole[:30] + "\r\n" + whole[30:],
		"a space":              whole[:30] + " " + whole[30:],
		"a byte more":          strings.TrimRight(whole, "=") + "AA",
		"white space in front": "\n " + whole,
	} {
		write(t, d, "/tmp/key", text)
		theirs, stderr, nixErr := d.Run("sh", "-c", "nix key convert-secret-to-public </tmp/key")
		ours, err := signature.ParseSecretKey(text)
		if (err == nil) != (nixErr == nil) {
			t.Errorf("%s: pix returns %v, Nix returns %v %s", what, err, nixErr, stderr)
		} else if err == nil && ours.Public().String() != theirs {
			t.Errorf("%s: pix has %s, Nix has %s", what, ours.Public(), theirs)
		}
		var bad *signature.Error
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
