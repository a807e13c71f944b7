// Package netrc reads netrc files, which have logins and passwords for hosts.
package netrc

import (
	"errors"
	"fmt"
	"strings"
)

// An Entry is a login and a password for a host.
type Entry struct {
	Host      string
	IsDefault bool // for all hosts; Host is ""

	Login, Password       string
	HasLogin, HasPassword bool
}

// IsFor reports whether an entry is for a host and, unless user is "", for a user. host has no port, and
// must equal the host of the entry, except for the case of letters.
//
// A server can redirect to any host. That host must only get a password that the user has stored for exactly this
// host. So strict ignores default and incomplete entries.
func (e *Entry) IsFor(host, user string, strict bool) bool {
	switch {
	case !e.IsDefault && !strings.EqualFold(e.Host, host):
		return false
	case strict && (e.IsDefault || !e.HasLogin || !e.HasPassword):
		return false
	case user != "" && e.HasLogin:
		return e.Login == user && e.HasPassword
	}
	return e.HasLogin || e.HasPassword
}

// Parse reads a netrc file as libcurl 8.23 does (lib/netrc.c), which Nix 2.34 uses in Debian:
//
//	machine HOST login NAME password PASSWORD
//	machine HOST login NAME password "PASS \"WORD\""
//	default login NAME password PASSWORD
//	macdef NAME
//	(lines up to an empty one, which are ignored)
//
// The case of keywords does not matter. A line that begins with "#" is a comment. In quotes, \n, \r
// and \t are control characters, and any other character after a backslash stands for itself. The
// word after "account" and unknown words are ignored. A quotation mark that is not closed is an
// error; Parse then returns the entries before it.
func Parse(text string) ([]Entry, error) {
	clean := withoutComments(text)
	p := &parser{text: clean}
	if err := p.parse(); err != nil {
		// The error has the number of the line without its text, which may be a password.
		before := strings.Count(clean[:len(clean)-len(p.text)], "\n")
		return p.entries, fmt.Errorf("line %d: %w", lineOf(text, before), err)
	}
	return p.entries, nil
}

// lineOf returns the number, from 1, of the line of a netrc file that comes after before other lines, not counting
// comments.
func lineOf(text string, before int) int {
	number := 0
	for line := range strings.Lines(text) {
		number++
		if isComment(line) {
			continue
		}
		if before == 0 {
			break
		}
		before--
	}
	return number
}

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

// withoutComments removes comments, and white space at the beginning of lines.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !isComment(line) {
			b.WriteString(strings.TrimLeft(line, " \t"))
		}
	}
	return b.String()
}

// A parser reads the words of a netrc file.
type parser struct {
	text    string // not yet parsed
	entries []Entry
	entry   Entry // the current one
	inEntry bool  // false before the first machine, and after a macro
}

func (p *parser) parse() error {
	for {
		keyword, quoted, err := p.word()
		if err != nil {
			return err
		}
		if quoted {
			continue
		}
		if keyword == "" {
			p.endEntry()
			return nil
		}
		if err := p.keyword(strings.ToLower(keyword)); err != nil {
			return err
		}
	}
}

// keyword handles a keyword.
func (p *parser) keyword(keyword string) error {
	switch keyword {
	case "machine":
		p.endEntry()
		return p.value(&p.entry.Host, &p.inEntry)
	case "default":
		p.endEntry()
		p.entry.IsDefault, p.inEntry = true, true
	case "login":
		return p.value(&p.entry.Login, &p.entry.HasLogin)
	case "password":
		return p.value(&p.entry.Password, &p.entry.HasPassword)
	case "account":
		return p.value(new(string), new(bool))
	case "macdef":
		p.endEntry()
		p.skipMacro()
	}
	return nil
}

// endEntry ends the current entry.
func (p *parser) endEntry() {
	if p.inEntry {
		p.entries = append(p.entries, p.entry)
	}
	p.entry, p.inEntry = Entry{}, false
}

const space = " \t\r\n"

// word returns the next word, and whether it is quoted. At the end of the file it is "".
func (p *parser) word() (word string, quoted bool, err error) {
	p.text = strings.TrimLeft(p.text, space)
	if strings.HasPrefix(p.text, `"`) {
		word, err = p.quoted()
		return word, true, err
	}
	end := strings.IndexAny(p.text, space)
	if end < 0 {
		end = len(p.text)
	}
	word, p.text = p.text[:end], p.text[end:]
	return word, false, nil
}

// value reads the next word into value, even if it is a keyword, and sets has. At the end of the file it
// changes neither.
func (p *parser) value(value *string, has *bool) error {
	word, quoted, err := p.word()
	if err == nil && (quoted || word != "") {
		*value, *has = word, true
	}
	return err
}

var errOpenQuote = errors.New("a quotation mark is not closed")

// quoted returns a quoted word.
func (p *parser) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(p.text); i++ {
		c := p.text[i]
		switch {
		case c == '"':
			p.text = p.text[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.text):
			i++
			c = unescape(p.text[i])
		}
		b.WriteByte(c)
	}
	return "", errOpenQuote
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// skipMacro skips a macro, which ends before an empty line.
func (p *parser) skipMacro() {
	for p.text != "" {
		_, p.text, _ = strings.Cut(p.text, "\n")
		line := strings.TrimLeft(p.text, "\r")
		if strings.HasPrefix(line, "\n") {
			return
		}
	}
}
