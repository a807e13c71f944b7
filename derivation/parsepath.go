package derivation

import (
	"fmt"
	"path"
	"strings"

	"pix/storepath"
)

// path reads a store path.
func (p *parser) path() (storepath.Path, bool) {
	if path, ok := p.plainPath(p.pos); ok {
		p.pos += len(path) + 2
		return path, true
	}
	start := p.pos
	s, ok := p.plain()
	if !ok {
		return "", false
	}
	return p.storePath(start+1, s)
}

// plainPath returns the store path in quotes at offset, if it lies in the store directory and is
// in canonical form. It checks and measures the path in one pass.
func (p *parser) plainPath(offset int) (storepath.Path, bool) {
	if len(p.text)-offset <= 1 || p.text[offset] != '"' {
		return "", false
	}
	s, dir := p.text[offset+1:], p.dir
	if dir == "" {
		dir = guessDir(s)
	}
	n := len(dir)
	if n == 0 || len(s) <= n || s[:n] != string(dir) || s[n] != '/' {
		return "", false
	}
	base := quotedBaseLen(s[n+1:])
	if base == 0 {
		return "", false
	}
	if p.dir == "" {
		p.dir = dir
	}
	return storepath.Path(s[:n+1+base]), true
}

// guessDir returns the store directory with which path begins, if it is one that nearly all
// derivations have, or "".
func guessDir(path string) storepath.Dir {
	for _, dir := range [...]storepath.Dir{storepath.DefaultDir, guixDir} {
		if strings.HasPrefix(path, string(dir)) {
			return dir
		}
	}
	return ""
}

const guixDir storepath.Dir = "/gnu/store"

// storePath checks that s is a store path in the same directory as all others.
func (p *parser) storePath(offset int, s string) (storepath.Path, bool) {
	if isPlainPath(p.dir, s) {
		return storepath.Path(s), true
	}
	return p.parsePath(offset, s)
}

// isPlainPath is a fast version of [storepath.Dir.Parse]. It reports whether s is a store path in dir, but for speed it
// returns false for a name that begins with a dot.
func isPlainPath(dir storepath.Dir, s string) bool {
	n := len(dir)
	return n > 0 && len(s) > n+1 && s[:n] == string(dir) && s[n] == '/' && plainBaseLen(s[n+1:]) == len(s)-n-1
}

// parsePath is the slow path of storePath, for the first path, paths that are not in canonical
// form, and invalid paths.
func (p *parser) parsePath(offset int, s string) (storepath.Path, bool) {
	if !strings.HasPrefix(s, "/") {
		return "", p.fail(offset, "an absolute path", fmt.Sprintf("bad path %q", truncate(s)))
	}
	clean := path.Clean(s)
	if clean != s {
		p.notCanonical(offset, "the path contains empty or dot components")
	}
	sp, err := storepath.Parse(clean)
	if err != nil {
		return "", p.fail(offset, "a store path", err.Error())
	}
	if p.dir == "" {
		p.dir = sp.Dir()
	}
	if sp.Dir() != p.dir {
		reason := fmt.Sprintf("%s is not in the store directory %s of the previous paths", sp, p.dir)
		if p.dirGiven {
			reason = fmt.Sprintf("%s is not in the store directory %s", sp, p.dir)
		}
		return "", p.fail(offset, "", reason)
	}
	return sp, true
}
