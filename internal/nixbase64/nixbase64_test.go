package nixbase64_test

import (
	"testing"

	"pix/internal/nixbase64"
)

func TestDecodeString(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "=": "", "A": "", "YQ==": "a", "YQ": "a", "YR": "a", "YWI": "ab", "Y\nW\nJ\nj\n": "abc", "YWJj=!?": "abc",
	} {
		if got, err := nixbase64.DecodeString(s); err != nil || string(got) != want {
			t.Errorf("DecodeString(%q) = %q, %v, want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"YW-j", "YW_j", "YW j", "YWJj\r\n", "é"} {
		if got, err := nixbase64.DecodeString(s); err == nil {
			t.Errorf("DecodeString(%q) = %q, want an error", s, got)
		}
	}
}

func TestDecodeIntoShortSlice(t *testing.T) {
	dst := make([]byte, 2)
	if n, err := nixbase64.Decode(dst, "YWJj"); n != 3 || err != nil || string(dst) != "ab" {
		t.Errorf("Decode returned %d, %v and wrote %q, want 3 and \"ab\"", n, err, dst)
	}
}
