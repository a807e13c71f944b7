package server_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pix/localstore"
	"pix/protocol"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
)

// madeUp returns n signatures that no key has made.
func madeUp(n int, name string) (all []string) {
	for i := range n {
		raw := make([]byte, 64)
		raw[0], raw[1] = byte(i), byte(i>>8)
		all = append(all, fmt.Sprint(name, i, ":", base64.StdEncoding.EncodeToString(raw)))
	}
	return all
}

// signatureStores creates stores of both kinds, which trust a key.
func signatureStores(t *testing.T, key signature.SecretKey) map[string]store.Store {
	keys := signature.NewKeySet(key.Public())
	local, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), TrustedKeys: keys, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	return map[string]store.Store{"memory": memstore.New(&memstore.Options{TrustedKeys: keys}), "disk": local}
}

func newKey(t *testing.T, name string) signature.SecretKey {
	t.Helper()
	key, err := signature.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Forged signatures of an untrusted user do not keep out valid ones, do not remove signatures
// of trusted keys, and do not make replies about the path large.
func TestForgedSignatures(t *testing.T) {
	key, stranger := newKey(t, "trusted-1"), newKey(t, "stranger-1")
	for kind, s := range signatureStores(t, key) {
		t.Run(kind, func(t *testing.T) {
			path, err := store.AddText(t.Context(), s, "a", "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			info, err := s.QueryPathInfo(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			good, unknown := *info, *info
			sign(t, key, &good)
			sign(t, stranger, &unknown)
			c := dial(t, s, nil)
			add := func(signatures ...string) {
				t.Helper()
				must[*protocol.Ack](c, &protocol.AddSignaturesRequest{Path: path, Signatures: signatures}, nil)
			}
			has := func(signature string) bool {
				t.Helper()
				info, err := s.QueryPathInfo(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(info.Signatures); n > 65 {
					t.Fatalf("the path has %d signatures", n)
				}
				return slices.Contains(info.Signatures, signature)
			}
			for i := range 30 {
				add(madeUp(64, fmt.Sprint("a", i, "-"))...)
			}
			if add(good.Signatures...); !has(good.Signatures[0]) {
				t.Error("the signature of a trusted key was not added")
			}
			if add(unknown.Signatures...); !has(unknown.Signatures[0]) {
				t.Error("the signature of another key was not added")
			}
			for i := range 30 { // also with the name of the trusted key
				add(append(madeUp(30, fmt.Sprint("b", i, "-")), strings.Replace(unknown.Signatures[0], "stranger-1", "trusted-1", 1))...)
			}
			if !has(good.Signatures[0]) {
				t.Error("the signature of a trusted key was removed")
			}
			if add(good.Signatures...); !has(good.Signatures[0]) {
				t.Error("adding a signature again removes it")
			}
		})
	}
}

func TestTooManySignaturesAtOnce(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, s, nil)
	for what, signatures := range map[string][]string{
		"many": madeUp(65, "a"), "long": madeUp(1, strings.Repeat("x", 20<<10)), "malformed": {"x"},
	} {
		if _, err := c.ask(&protocol.AddSignaturesRequest{Path: text, Signatures: signatures}, nil); err == nil {
			t.Errorf("%s: they were added", what)
		}
	}
	if info, err := s.QueryPathInfo(t.Context(), text); err != nil || len(info.Signatures) > 0 {
		t.Errorf("%v, %v", info.Signatures, err)
	}
}

// A trusted user may add any number of signatures. The limit of untrusted users does not remove
// them.
func TestSignaturesOfTrustedUsers(t *testing.T) {
	s, text, _ := newStore(t)
	must[*protocol.Ack](dial(t, s, trusted), &protocol.AddSignaturesRequest{Path: text, Signatures: madeUp(100, "c")}, nil)
	must[*protocol.Ack](dial(t, s, nil), &protocol.AddSignaturesRequest{Path: text, Signatures: madeUp(1, "d")}, nil)
	info, err := s.QueryPathInfo(t.Context(), text)
	if err != nil || len(info.Signatures) != 100 || !slices.Contains(info.Signatures, madeUp(1, "d")[0]) {
		t.Errorf("%d signatures, %v", len(info.Signatures), err)
	}
}

// An object with many signatures can be copied to the store, and the signature of the trusted
// key is kept.
func TestUploadWithManySignatures(t *testing.T) {
	key := newKey(t, "trusted-1")
	for kind, s := range signatureStores(t, key) {
		for _, op := range []protocol.Op{protocol.AddToStoreNar, protocol.AddMultipleToStore} {
			t.Run(fmt.Sprint(kind, " ", op), func(t *testing.T) {
				c := dial(t, s, nil)
				object, archive := importOf(t, op.String())
				object.Signatures = madeUp(500, "a")
				sign(t, key, object)
				var good string
				for _, s := range object.Signatures {
					if strings.HasPrefix(s, "trusted-1:") {
						good = s
					}
				}
				upload := func() error {
					req, body := protocol.Request(&protocol.AddToStoreNarRequest{Info: *object}), archive
					if op == protocol.AddMultipleToStore {
						req, body = new(protocol.AddMultipleToStoreRequest), multiple(t, c.params, object, archive)
					}
					_, err := c.ask(req, body)
					return err
				}
				if err := upload(); err != nil {
					t.Fatal(err)
				}
				info, err := s.QueryPathInfo(t.Context(), object.Path)
				if err != nil || len(info.Signatures) != 65 || !slices.Contains(info.Signatures, good) {
					t.Errorf("%d signatures, %v", len(info.Signatures), err)
				}
				object.Signatures = madeUp(2000, "b")
				if err := upload(); err == nil || !strings.Contains(err.Error(), "2000 signatures") {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// signerOnly is a store that cannot remove signatures.
type signerOnly struct {
	store.Store
	store.Signer
}

// A store that cannot remove signatures limits them itself.
func TestSignaturesOfAnotherStore(t *testing.T) {
	s, text, _ := newStore(t)
	c := dial(t, signerOnly{s, s}, nil)
	for i := range 3 {
		must[*protocol.Ack](c, &protocol.AddSignaturesRequest{Path: text, Signatures: madeUp(64, fmt.Sprint("a", i, "-"))}, nil)
	}
	if info, err := s.QueryPathInfo(t.Context(), text); err != nil || len(info.Signatures) != 3*64 {
		t.Errorf("%d, %v", len(info.Signatures), err)
	}
}
