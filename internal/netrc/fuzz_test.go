package netrc

import (
	"strings"
	"testing"
)

// quoter quotes a word of a netrc file.
var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// A quoted word is parsed to the same word, and the parser reads any text before it to its end.
func FuzzParse(f *testing.F) {
	f.Add("machine a login b password c\n# comment\nmacdef m\nx\n\ndefault", "login", `pass "word"`)
	f.Add(`machine "a" login "\`, " #", "\r\n\t")
	f.Add("machine a macdef", "\x00", "\xff")
	f.Fuzz(func(t *testing.T, before, login, password string) {
		entries, err := Parse(before)
		if len(entries) > len(before)/7+1 {
			t.Errorf("%d entries in %d bytes", len(entries), len(before))
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "line ") || !strings.HasSuffix(err.Error(), errOpenQuote.Error())) {
			t.Error(err)
		}
		text := `machine host login "` + quoter.Replace(login) + `" password "` + quoter.Replace(password) + `"`
		entries, err = Parse(text)
		if err != nil || len(entries) != 1 || entries[0] != (Entry{Host: "host", Login: login, Password: password, HasLogin: true, HasPassword: true}) {
			t.Errorf("%q: %+v, %v", text, entries, err)
		}
	})
}
