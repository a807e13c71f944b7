package explain_test

import (
	"crypto/ed25519"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"pix/explain"
)

// recompute checks that each result of an explanation follows from the text and the inputs of its step alone. It uses nothing of the
// packages that compute the explanation.
func recompute(t *testing.T, e *explain.Explanation) {
	t.Helper()
	for i, s := range e.Steps {
		want, ok := recomputeStep(t, &s)
		if ok && s.Result != want {
			t.Errorf("%s: the result of step %d (%s of %s) is %q, want %q", e.Subject, i+1, s.Name, s.Output, s.Result, want)
		}
		for _, in := range s.Inputs {
			if in.From == 0 {
				continue
			}
			if in.From > i || in.Value != e.Steps[in.From-1].Result {
				t.Errorf("%s: step %d has the input %s = %q from step %d", e.Subject, i+1, in.Name, in.Value, in.From)
			}
			if !strings.Contains(s.Text, in.Value) {
				t.Errorf("%s: the text of step %d does not have the input %s = %q", e.Subject, i+1, in.Name, in.Value)
			}
		}
	}
}

// recomputeStep returns the result of a step. It does not know BLAKE3.
func recomputeStep(t *testing.T, s *explain.Step) (string, bool) {
	t.Helper()
	b := []byte(s.Text)
	digest := func(sum []byte) (string, bool) { return hex.EncodeToString(sum), true }
	switch s.Op {
	case explain.OpShow:
		return "", true
	case explain.OpJoin:
		return s.Text, true
	case "blake3":
		return "", false
	case explain.OpVerify:
		return verdict(s), true
	case "md5":
		sum := md5.Sum(b)
		return digest(sum[:])
	case "sha1":
		sum := sha1.Sum(b)
		return digest(sum[:])
	case "sha256":
		sum := sha256.Sum256(b)
		return digest(sum[:])
	case "sha512":
		sum := sha512.Sum512(b)
		return digest(sum[:])
	}
	raw, err := hex.DecodeString(s.Text)
	if err != nil {
		t.Fatalf("the text of the step %s is %q", s.Name, s.Text)
	}
	switch s.Op {
	case explain.OpBase64:
		return base64.StdEncoding.EncodeToString(raw), true
	case explain.OpFold:
		for i, c := range raw[20:] {
			raw[i] ^= c
		}
		return digest(raw[:20])
	case explain.OpNix32:
		return bigBase32(raw), true
	}
	t.Fatalf("the step %s has the unknown operation %s", s.Name, s.Op)
	return "", false
}

// bigBase32 writes bytes as one number in Nix's base 32.
func bigBase32(raw []byte) string {
	reversed := make([]byte, len(raw))
	for i, c := range raw {
		reversed[len(raw)-1-i] = c
	}
	text := new(big.Int).SetBytes(reversed).Text(32) // the digits 0-9a-v
	text = strings.Repeat("0", (len(raw)*8+4)/5-len(text)) + text
	return strings.Map(func(r rune) rune {
		return rune("0123456789abcdfghijklmnpqrsvwxyz"[strings.IndexRune("0123456789abcdefghijklmnopqrstuv", r)])
	}, text)
}

// verdict returns the result of the step of a signature.
func verdict(s *explain.Step) string {
	values := map[string]string{}
	for _, in := range s.Inputs {
		values[in.Name] = in.Value
	}
	name, sig, _ := strings.Cut(values["signature"], ":")
	rawSig, err := base64.StdEncoding.DecodeString(sig)
	if err != nil || len(rawSig) != ed25519.SignatureSize || name == "" {
		return explain.ResultInvalid
	}
	_, key, ok := strings.Cut(values["public key"], ":")
	if !ok {
		return explain.ResultUnknown
	}
	rawKey, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(rawKey) != ed25519.PublicKeySize || !ed25519.Verify(rawKey, []byte(s.Text), rawSig) {
		return explain.ResultInvalid
	}
	return explain.ResultValid
}
