package store_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

const registered = `/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
18446744073709551615
/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv
2
/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv
/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting
/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
0

0
`

// registrations parses a text, and returns it as it is printed again.
func registrations(r io.Reader) (string, error) {
	var text []byte
	for info, err := range store.ParseRegistrations(r, storepath.DefaultDir) {
		if err != nil {
			return string(text), err
		}
		text = info.AppendRegistration(text)
	}
	return string(text), nil
}

// Registrations are printed as they are read. Hashes may have other forms.
func TestRegistrations(t *testing.T) {
	h := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	for _, hash := range []string{h.Base16(), h.Nix32(), h.Base64(), h.SRI(), h.WithNix32()} {
		got, err := registrations(strings.NewReader(strings.ReplaceAll(registered, h.Base16(), hash)))
		if got != registered || err != nil {
			t.Errorf("%s: %v, text %q", hash, err, got)
		}
	}
	if got, err := registrations(strings.NewReader("")); got != "" || err != nil {
		t.Errorf("no text: %v, %q", err, got)
	}
}

// Each wrong line is an error with its number, as in Nix, and so is a text that ends too early.
func TestInvalidRegistrations(t *testing.T) {
	lines := strings.SplitAfter(registered, "\n")
	for i := range lines[:len(lines)-1] {
		for _, wrong := range []string{"nonsense", "-1", " ", "+1", "/nix/store/x", strings.Repeat("x", 1<<20), "99999999999999999999"} {
			changed := append([]string{}, lines...)
			changed[i] = wrong + "\n"
			_, err := registrations(strings.NewReader(strings.Join(changed, "")))
			invalid, ok := errors.AsType[*store.RegistrationError](err)
			if !ok || invalid.Line != i+1 {
				t.Errorf("line %d is %.20q: %v", i+1, wrong, err)
			}
		}
	}
	first := strings.Index(registered, "/nix/store/m6ws")
	for n := range registered {
		_, err := registrations(strings.NewReader(registered[:n]))
		if complete := n == 0 || n == first; complete != (err == nil) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := registrations(strings.NewReader(strings.Replace(registered, "\n2\n", "\n2147483647\n", 1))); err == nil {
		t.Error("too many references are accepted")
	}
}

func FuzzRegistrations(f *testing.F) {
	f.Add(registered)
	f.Fuzz(func(t *testing.T, text string) {
		printed, _ := registrations(strings.NewReader(text))
		if again, err := registrations(strings.NewReader(printed)); err != nil || again != printed {
			t.Errorf("%q is printed as %q, and then as %q, %v", text, printed, again, err)
		}
	})
}
