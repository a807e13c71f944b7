package firstchar_test

import (
	"testing"

	"pix/internal/firstchar"
)

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{"": "''", "ab": "'a'", "école": "'é'", "\xffx": "0xff", "\xc3": "0xc3", "\n": `'\n'`, "\x00": `'\x00'`, "\ufffd": "'\ufffd'"} {
		if got := firstchar.Quote(s); got != want {
			t.Errorf("Quote(%q) = %s, want %s", s, got, want)
		}
	}
}
