package store_test

import (
	"fmt"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// The JSON of each version of Nix is read, and from 2.34 on written again byte for byte. The signatures in its
// database equal ours.
func TestRealPathInfoJSON(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		drv, err := storepath.DefaultDir.Parse(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "--expr",
			`derivation { name = "foo"; system = "x"; builder = builtins.toFile "builder" "x"; }`)))
		if err != nil {
			t.Fatal(err)
		}
		sign, query := []string{"nix", "store", "sign"}, []string{"nix", "path-info"}
		switch {
		case strings.HasPrefix(s.Version, "2.3."):
			sign = []string{"nix", "sign-paths"}
		case strings.HasPrefix(s.Version, "2.8."): // a derivation stands for its outputs there
			sign, query = append(sign, "--derivation"), append(query, "--derivation")
		}
		d.MustRun(t, "nix-store", "--generate-binary-cache-key", "real-1", "/tmp/secret", "/tmp/public")
		d.MustRun(t, append(sign, "--key-file", "/tmp/secret", string(drv))...)
		key, err := signature.ParseSecretKey(d.MustRun(t, "cat", "/tmp/secret"))
		if err != nil {
			t.Fatal(err)
		}

		versions := []int{0}
		if _, _, err := d.Run("nix", "path-info", "--json", "--json-format", "1", string(drv)); err == nil {
			versions = []int{1, 2}
		}
		if _, _, err := d.Run("nix", "path-info", "--json", "--json-format", "3", string(drv)); err == nil {
			versions = append(versions, 3)
		}
		for _, version := range versions {
			args := append(query, "--json", "--recursive", string(drv))
			if version > 0 {
				args = []string{"nix", "path-info", "--json", "--json-format", fmt.Sprint(version), string(drv), string(jsonFoo)}
			}
			text := strings.TrimSpace(d.MustRun(t, args...))
			infos, err := store.ParsePathInfosJSON("/nix/store", []byte(text))
			if err != nil || infos[drv] == nil || len(infos) != 2 {
				t.Fatalf("version %d: %v, %v of %s", version, infos, err, text)
			}
			info := infos[drv]
			if info.RegistrationTime.IsZero() || len(info.References) != 1 || !info.IsContentAddressed() {
				t.Errorf("version %d: %+v", version, info)
			}
			good, err := info.CheckSignatures(signature.NewKeySet(key.Public()))
			if err != nil || len(good) != 1 {
				t.Errorf("version %d: signatures %q, %v", version, info.Signatures, err)
			}
			if version == 0 {
				continue
			}
			if again, err := (store.PathInfoJSON{Version: version}).MarshalAll("/nix/store", infos); err != nil || string(again) != text {
				t.Errorf("version %d: written as\n%s, %v, Nix has\n%s", version, again, err, text)
			}
		}
	})
}
