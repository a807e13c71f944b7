package derivation

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"path"
	"slices"
	"strings"

	"pix/nixbase32"
	"pix/nixhash"
	"pix/storepath"
)

// maxDynamicDepth bounds how deep the outputs of dynamic derivations may be nested.
// Nix has no limit but the end of its stack, which is not far beyond; the deepest
// that were ever seen have three levels.
const maxDynamicDepth = 10_000

// ParseOptions say what [ParseOptions.Parse] demands of a text beyond what
// [Parse] does. A nil pointer demands nothing.
type ParseOptions struct {
	// Dir is the store directory in which all paths must lie; "" for any, but one.
	Dir storepath.Dir
	// Canonical refuses what no released Nix has written.
	Canonical bool
}

// Parse reads the text of a .drv file. It takes what Nix 2.34 takes, with the same
// meaning, and refuses what that refuses with a [*SyntaxError].
//
// Nix is lenient: it does not look at what follows the last parenthesis; commas may
// be missing, or stand before the first element of a list; lists may be in any order;
// of two outputs with one name the first counts, of two variables or input
// derivations the last; hashes may be in any encoding; paths may have "//", "." and
// ".." in them. [ParseCanonical] refuses all that.
//
// Differences to Nix: the value of [StructuredAttrsKey] is not looked at; a platform
// with a quote in it is refused, since no text that has it can be read again; so is a
// text of more than 4 GiB; and the store directory is that of the paths, which must all
// be in one.
//
// The result points into text. Name is left empty; see [ParseAt].
func Parse(text string) (*Derivation, error) { return (*ParseOptions)(nil).Parse(text) }

// ParseBytes does what [Parse] does with a copy of text.
func ParseBytes(text []byte) (*Derivation, error) { return Parse(string(text)) }

// ParseCanonical does what [Parse] does, and refuses what no released Nix has
// written with a [*NotCanonicalError]. What it takes is printed again to the same
// bytes.
func ParseCanonical(text string) (*Derivation, error) {
	return (&ParseOptions{Canonical: true}).Parse(text)
}

// ParseAt reads the text of the derivation that lies at path: all paths must be in
// the same store directory, and the name is that of the path. The error is a
// [*SyntaxError], or a [*storepath.Error] if path is not that of a derivation.
func ParseAt(path storepath.Path, text string) (*Derivation, error) {
	name, err := NameOf(path)
	if err != nil {
		return nil, err
	}
	d, err := (&ParseOptions{Dir: path.Dir()}).Parse(text)
	if err != nil {
		return nil, err
	}
	d.Name = name
	return d, nil
}

// NameOf returns the name of the derivation that lies at path. The error is a
// [*storepath.Error] if that does not end in ".drv".
func NameOf(path storepath.Path) (string, error) {
	name, ok := strings.CutSuffix(path.Name(), storepath.DerivationExt)
	if !ok {
		return "", &storepath.Error{Text: string(path), Reason: "it is no derivation, for its name does not end in .drv"}
	}
	return name, nil
}

// Parse does what the function [Parse] does, with these options.
func (o *ParseOptions) Parse(text string) (*Derivation, error) {
	if o == nil {
		o = &ParseOptions{}
	}
	p := newParser(text, o.Dir)
	d, err := p.parse()
	if err != nil {
		return nil, err
	}
	if o.Canonical {
		if err := p.canonical(d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parse reads the text. Most derivations have one output, one source, three arguments,
// and one variable with escapes at most: they are one allocation with these.
func (p *parser) parse() (*Derivation, error) {
	all := new(struct {
		derivation Derivation
		output     [1]Entry[string, Output]
		parsed     parsed
		odd        [1]Entry[string, string]
		source     [1]storepath.Path
		args       [3]string
	})
	d := &all.derivation
	d.Outputs.entries, d.InputSources.keys, d.Args = all.output[:0], all.source[:0], all.args[:0]
	p.parsed = &all.parsed
	p.parsed.text, p.parsed.oddVariables = p.text, all.odd[:0]
	p.room = newRoom()
	if !p.derivation(d) {
		return nil, p.err
	}
	p.room.release()
	return d, nil
}

// A parser reads a text from left to right. Its methods return false after the first
// error.
type parser struct {
	text       string
	pos        int           // of the next byte
	nextEscape int           // of the first backslash not before the last string; len(text) if there is none
	dir        storepath.Dir // of all paths; "" until the first one
	demanded   bool          // that dir was given by the caller
	names      []string      // has room for the outputs of inputs that are used
	parsed     *parsed       // what is to be found in the text later

	inputDisorder, variableDisorder bool // whether they must be sorted

	fixed   storepath.Path // what the last fixed output claims to be its path
	fixedAt int
	err     *SyntaxError
	note    *NotCanonicalError // the first thing that is not canonical
	room    *room
}

func newParser(text string, dir storepath.Dir) parser {
	return parser{text: text, nextEscape: indexFrom(text, 0, '\\'), dir: dir, demanded: dir != ""}
}

func (p *parser) fail(offset int, expected, reason string) bool {
	p.err = &SyntaxError{Offset: offset, Reason: reason, Expected: expected}
	return false
}

// notCanonical keeps the first thing that is not canonical.
func (p *parser) notCanonical(offset int, reason string) {
	if p.note == nil || offset < p.note.Offset {
		p.note = &NotCanonicalError{offset, reason}
	}
}

// expect passes over token.
func (p *parser) expect(token string) bool {
	if !strings.HasPrefix(p.text[p.pos:], token) {
		return p.unexpected(token)
	}
	p.pos += len(token)
	return true
}

// unexpected fails at the first byte that is not token's.
func (p *parser) unexpected(token string) bool {
	i := 0
	for i < len(token) && p.pos+i < len(p.text) && p.text[p.pos+i] == token[i] {
		i++
	}
	if p.pos+i == len(p.text) {
		return p.fail(p.pos+i, "`"+token[i:]+"`", "the text ends")
	}
	return p.fail(p.pos+i, "`"+token[i:]+"`", fmt.Sprintf("found %q", p.text[p.pos+i]))
}

// more passes over what stands before an element of a list, or over the list's end,
// which it returns false for. Nix takes a comma here and does not ask for one.
func (p *parser) more(first bool) bool {
	if p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ',':
			if first {
				p.notCanonical(p.pos, "a comma stands before the first element of a list")
			}
			p.pos++
			return true
		case ']':
			p.pos++
			return false
		}
	}
	if !first {
		p.notCanonical(p.pos, "there is no comma before an element of a list")
	}
	return true
}

// string reads a quoted string. It is a part of the text unless something in it is
// escaped. Most strings are short.
func (p *parser) string() (string, bool) {
	text, start := p.text, p.pos+1
	if p.pos >= len(text) || text[p.pos] != '"' {
		return "", p.unexpected(`"`)
	}
	if start+16 <= len(text) {
		head := text[start : start+16]
		n := firstOf(hasByte(load64(head), '"'), hasByte(load64(head[8:]), '"'))
		if n < 16 && p.nextEscape >= start+n {
			p.pos = start + n + 1
			return text[start : start+n], true
		}
	}
	return p.restOfString(start)
}

// restOfString reads a string whose first quote stands before start.
func (p *parser) restOfString(start int) (string, bool) {
	end := indexFrom(p.text, start, '"')
	if end == len(p.text) {
		return "", p.fail(start-1, "", "the string that begins here has no end")
	}
	if p.nextEscape < end && p.escapeBefore(start, end) {
		return p.escapedString(start)
	}
	p.pos = end + 1
	return p.text[start:end], true
}

// escapedString reads a string with at least one backslash, whose content begins at
// start. It copies eight bytes at a time, and then goes on after those of them that
// stand before a quote or a backslash.
func (p *parser) escapedString(start int) (string, bool) {
	text, buf := p.text, p.room.buf
	at, n := start, 0
	for at < len(text) {
		if n+8 > len(buf) {
			buf = append(buf, make([]byte, max(len(buf), 1<<12))...)
		}
		if at+8 <= len(text) {
			word := load64(text[at : at+8])
			binary.LittleEndian.PutUint64(buf[n:], word)
			found := hasByte(word, '"') | hasByte(word, '\\')
			if found == 0 {
				at, n = at+8, n+8
				continue
			}
			plain := bits.TrailingZeros64(found) / 8
			at, n = at+plain, n+plain
		}
		switch c := text[at]; {
		case c == '"':
			p.room.buf, p.pos = buf, at+1
			return string(buf[:n]), true
		case c != '\\':
			buf[n] = c
			at, n = at+1, n+1
		case at+1 < len(text):
			buf[n] = p.unescape(at + 1)
			at, n = at+2, n+1
		default:
			at = len(text)
		}
	}
	return "", p.fail(start-1, "", "the string that begins here has no end")
}

// unescape returns what the byte at offset stands for after a backslash.
func (p *parser) unescape(offset int) byte {
	c := p.text[offset]
	if plain := unescaped[c]; plain != 0 {
		return plain
	}
	p.notCanonical(offset-1, fmt.Sprintf("%q is escaped without need", c))
	return c
}

// unescaped has what a byte stands for after a backslash, and zero for those that Nix
// does not write there.
var unescaped = [256]byte{'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\'}

// indexFrom returns the offset of the first c in s from start on, or len(s).
func indexFrom(s string, start int, c byte) int {
	if i := strings.IndexByte(s[start:], c); i >= 0 {
		return start + i
	}
	return len(s)
}

// plain reads a string in which Nix escapes nothing when it writes it.
func (p *parser) plain() (string, bool) {
	start := p.pos
	s, ok := p.string()
	if ok && len(s) != p.pos-start-2 {
		p.notCanonical(start, "Nix escapes nothing in output names, paths, hashes and the platform")
	}
	return s, ok
}

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

// plainPath returns the store path that stands in quotes from offset on, if it is
// in the store directory and spelled as it should be. It is checked and measured in
// one go.
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
	base := plainBaseLen(s[n+1:])
	if base == 0 || len(s) == n+1+base || s[n+1+base] != '"' {
		return "", false
	}
	if p.dir == "" {
		p.dir = dir
	}
	return storepath.Path(s[:n+1+base]), true
}

// guessDir returns that of the store directories that nearly all derivations have which
// path begins with; "" if it is neither.
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
	if n := len(p.dir); n > 0 && len(s) > n+1 && s[:n] == string(p.dir) && s[n] == '/' && plainBaseLen(s[n+1:]) == len(s)-n-1 {
		return storepath.Path(s), true
	}
	return p.oddPath(offset, s)
}

// oddPath is storePath for the first path, for those that are not spelled as
// they should be, and for those that are wrong.
func (p *parser) oddPath(offset int, s string) (storepath.Path, bool) {
	if !strings.HasPrefix(s, "/") {
		return "", p.fail(offset, "an absolute path", fmt.Sprintf("bad path %q", abridge(s)))
	}
	clean := path.Clean(s)
	if clean != s {
		p.notCanonical(offset, "the path is not in its shortest spelling")
	}
	sp, err := storepath.Parse(clean)
	if err != nil {
		return "", p.fail(offset, "a store path", err.Error())
	}
	if p.dir == "" {
		p.dir = sp.Dir()
	}
	if sp.Dir() != p.dir {
		reason := fmt.Sprintf("%s is not in the store directory %s, as the paths before it are", sp, p.dir)
		if p.demanded {
			reason = fmt.Sprintf("%s is not in the store directory %s", sp, p.dir)
		}
		return "", p.fail(offset, "", reason)
	}
	return sp, true
}

// Bits of byteClass: where a byte may stand.
const (
	inHashPart = 1 << iota // of a store path
	inName                 // of a store path
	inHex                  // in lower case
)

var byteClass = func() (t [256]uint8) {
	for c := range 256 {
		if nixbase32.IsDigit(byte(c)) {
			t[c] |= inHashPart
		}
		if storepath.CheckName("x"+string([]byte{byte(c)})) == nil {
			t[c] |= inName
		}
		if strings.IndexByte("0123456789abcdef", byte(c)) >= 0 {
			t[c] |= inHex
		}
	}
	return t
}()

// plainBaseLen returns how long the last component of a store path is that s begins
// with; 0 if it begins with none. It is quick, and returns 0 too for some that are
// valid: names that begin with a dot.
func plainBaseLen(s string) int {
	const hash = storepath.HashPartLen
	if len(s) < hash+2 || s[hash] != '-' || s[hash+1] == '.' || !allOf(inHashPart, s[:hash]) {
		return 0
	}
	end := hash + 1
	for end+4 <= len(s) && byteClass[s[end]]&byteClass[s[end+1]]&byteClass[s[end+2]]&byteClass[s[end+3]]&inName != 0 {
		end += 4
	}
	for end < len(s) && byteClass[s[end]]&inName != 0 {
		end++
	}
	if end == hash+1 || end > hash+1+storepath.MaxNameLen {
		return 0
	}
	return end
}

// allOf reports whether all bytes of s are of that class. The length of s is a multiple
// of eight, and so many are looked at in one step.
func allOf(class uint8, s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		class &= byteClass[s[0]] & byteClass[s[1]] & byteClass[s[2]] & byteClass[s[3]] &
			byteClass[s[4]] & byteClass[s[5]] & byteClass[s[6]] & byteClass[s[7]]
	}
	return class != 0
}

// derivation reads the whole text.
func (p *parser) derivation(d *Derivation) bool {
	if int64(len(p.text)) > maxText {
		return p.fail(0, "", "the text is longer than 4 GiB")
	}
	dynamic, ok := p.header()
	if !ok || !p.outputs(d) || !p.expect(",[") || !p.inputDerivations(dynamic) ||
		!p.expect(",[") || !p.inputSources(d) || !p.expect(",") || !p.platform(d) || !p.expect(",") {
		return false
	}
	if d.Builder, ok = p.string(); !ok {
		return false
	}
	if !p.expect(",[") || !p.args(d) || !p.expect(",[") || !p.env() || !p.expect(")") {
		return false
	}
	p.makeMaps(d)
	if p.dir == "" {
		// Only a fixed output can say now in which directory the derivation lies.
		if claimed, err := storepath.Parse(string(p.fixed)); err == nil {
			p.dir = claimed.Dir()
		}
	}
	d.Dir = p.dir
	if dynamic && !d.IsDynamic() {
		p.notCanonical(0, "DrvWithVersion is written only for dynamic derivations")
	}
	if p.pos < len(p.text) {
		p.notCanonical(p.pos, "something follows the last parenthesis")
	}
	p.parsed.regular = p.note == nil
	return true
}

// header reads what stands before the outputs, and whether dynamic derivations may
// follow.
func (p *parser) header() (dynamic, ok bool) {
	if !strings.HasPrefix(p.text, "Dr") {
		if !strings.HasPrefix(p.text, "De") {
			return false, p.fail(0, "`Derive(` or `DrvWithVersion(`", "this is not the text of a derivation")
		}
		return false, p.expect("Derive([")
	}
	if !p.expect("DrvWithVersion(") {
		return false, false
	}
	start := p.pos
	version, ok := p.plain()
	if !ok {
		return false, false
	}
	if version != dynamicVersion {
		return false, p.fail(start, `"`+dynamicVersion+`"`, fmt.Sprintf("unknown version %q", abridge(version)))
	}
	return true, p.expect(",[")
}

// dynamicVersion is the only version of the text that has a name.
const dynamicVersion = "xp-dyn-drv"

// disorder notes that an element of a list that Nix sorts is not greater than the one
// before it. It returns false: the list is not sorted.
func (p *parser) disorder(offset int, equal bool) bool {
	if equal {
		p.notCanonical(offset, "this is there twice")
	} else {
		p.notCanonical(offset, "this stands in a sorted list after something greater")
	}
	return false
}

// copyOf returns a list of just the size that is needed; nil if it is empty.
func copyOf[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	c := make([]T, len(list))
	copy(c, list)
	return c
}

// appendTo appends to a list that is mostly short, and gives it room for more at once if
// it is full.
func appendTo[T any](list []T, element T) []T {
	if len(list) == cap(list) {
		list = slices.Grow(list, 3)
	}
	return append(list, element)
}

func (p *parser) outputs(d *Derivation) bool {
	list, sorted := d.Outputs.entries, true
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.outputName()
		if !ok {
			return false
		}
		output, ok := p.output()
		if !ok || !p.expect(")") {
			return false
		}
		if n := len(list); n > 0 && list[n-1].Key >= name {
			sorted = p.disorder(at, list[n-1].Key == name)
		}
		list = appendTo(list, Entry[string, Output]{name, output})
	}
	if !sorted {
		list = sortEntries(list) // of two with one name the first counts
	}
	d.Outputs.entries = list
	return true
}

// outputName reads what an output begins with: a parenthesis and its name.
func (p *parser) outputName() (name string, ok bool) {
	const likely = `("out"`
	if strings.HasPrefix(p.text[p.pos:], likely) {
		p.pos += len(likely)
		return onlyOut[0], true
	}
	if !p.expect("(") {
		return "", false
	}
	return p.plain()
}

// output reads the three fields of an output after its name.
func (p *parser) output() (o Output, ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == ',' {
		dir := p.dir
		if path, ok := p.plainPath(p.pos + 1); ok {
			// Most outputs are input-addressed.
			const rest = `,"",""`
			if after := p.text[p.pos+len(path)+3:]; len(after) > len(rest) && after[:len(rest)] == rest {
				p.pos += len(path) + 3 + len(rest)
				return InputAddressedOutput(path), true
			}
		}
		p.dir = dir // the path of a fixed output may lie anywhere
	}
	var fields [3]string
	var at [3]int
	for i := range fields {
		if !p.expect(",") {
			return o, false
		}
		at[i] = p.pos + 1
		if fields[i], ok = p.plain(); !ok {
			return o, false
		}
	}
	o = p.outputOf(at[0], fields[0], at[1], fields[1], at[2], fields[2])
	return o, p.err == nil
}

// outputOf makes an output of its three fields. It sets p.err if it cannot.
func (p *parser) outputOf(pathAt int, path string, algoAt int, methodAlgo string, hashAt int, hash string) Output {
	if methodAlgo == "" {
		if hash != "" {
			p.notCanonical(hashAt, "a hash without an algorithm is not looked at")
		}
		if path == "" {
			return DeferredOutput()
		}
		sp, _ := p.storePath(pathAt, path)
		return InputAddressedOutput(sp)
	}
	method, name := storepath.CutMethod(methodAlgo)
	algo, err := nixhash.ParseAlgorithm(name)
	if err != nil {
		p.fail(algoAt, "", err.Error())
		return Output{}
	}
	if hash == "" || hash == impureField {
		if path != "" {
			p.fail(pathAt, `""`, "an output that is neither input-addressed nor fixed has a path")
		}
		if hash == "" {
			return FloatingOutput(method, algo)
		}
		return ImpureOutput(method, algo)
	}
	if !strings.HasPrefix(path, "/") {
		p.fail(pathAt, "an absolute path", fmt.Sprintf("bad path %q of a fixed output", abridge(path)))
		return Output{}
	}
	digest, err := p.digest(hashAt, hash, algo)
	if err != nil {
		p.fail(hashAt, "", err.Error())
		return Output{}
	}
	p.fixed, p.fixedAt = storepath.Path(path), pathAt
	return Output{kind: Fixed, method: method, algo: algo, digest: digest, path: p.fixed}
}

// digest reads the hash of a fixed output in any encoding, and returns it in lower-case
// hex, as Nix writes it.
func (p *parser) digest(offset int, s string, algo nixhash.Algorithm) (string, error) {
	if len(s) == 2*algo.Size() && allOf(inHex, s) {
		return s, nil
	}
	p.notCanonical(offset, "the hash is not in lower-case hex")
	hash, err := nixhash.ParseUnprefixed(s, algo)
	return hash.Base16(), err
}

func (p *parser) inputDerivations(dynamic bool) bool {
	p.room.oddInputs = p.room.oddInputs[:0]
	start := p.pos
	last := p.plainInputs('[', "")
	for first := p.pos == start; p.more(first); first = false {
		at := p.pos
		input, ok := p.inputDerivation(dynamic)
		if !ok {
			return false
		}
		if !first && last >= input.Key {
			p.inputDisorder = !p.disorder(at, last == input.Key)
		}
		p.keepInput(at, input)
		last = p.plainInputs(',', input.Key)
	}
	p.parsed.inputs = len(p.room.places)
	p.parsed.inputList = p.spanTo(start)
	return true
}

// spanTo returns the span from start to before the bracket that was just passed.
func (p *parser) spanTo(start int) span { return span{uint32(start), uint32(p.pos - 1)} }

// keepInput keeps the input derivation that begins at offset and was just passed.
func (p *parser) keepInput(offset int, e Entry[storepath.Path, InputOutputs]) {
	const before, after = `("`, `",["out"])`
	start := offset + len(before)
	if p.pos-start == len(e.Key)+len(after) && p.text[p.pos-len(after):p.pos] == after && len(e.Key) <= maxPart {
		p.room.places = append(p.room.places, place{start: uint32(start), key: uint16(len(e.Key))})
		return
	}
	p.room.places = append(p.room.places, oddPlace(len(p.room.oddInputs)))
	p.room.oddInputs = append(p.room.oddInputs, e)
}

// inputDerivation reads an input derivation, and which of its outputs are used.
func (p *parser) inputDerivation(dynamic bool) (e Entry[storepath.Path, InputOutputs], ok bool) {
	at := p.pos
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.path(); !ok || !p.expect(",") {
		return e, false
	}
	if dynamic {
		e.Value, ok = p.inputNode(0)
	} else {
		e.Value.Names.keys, ok = p.outputNames()
	}
	if ok && e.Value.Names.Len() == 0 && e.Value.Dynamic.Len() == 0 {
		p.notCanonical(at, "an input derivation is listed of which no output is used")
	}
	return e, ok && p.expect(")")
}

// plainInputs reads input derivations as long as they are sorted, and are used for
// "out" alone, as most are. It does what inputDerivations does in fewer steps. The first
// stands after separator, which may have been passed already if it is the bracket of the
// list; the others after a comma. The last path, which was last before, is returned.
func (p *parser) plainInputs(separator byte, last storepath.Path) storepath.Path {
	const before, after = `("`, `",["out"])`
	text, pos, list := p.text, p.pos, p.room.places
	if separator == '[' {
		pos--
	}
	lastWord := uint64(0) // the first eight bytes of the last hash part, once it is known; the first byte is highest
	for pos+len(before) < len(text) && text[pos] == separator && text[pos+1:pos+1+len(before)] == before {
		start := pos + 1 + len(before)
		path, ok := p.plainPath(start - 1)
		if !ok || len(path) > maxPart || !strings.HasPrefix(text[start+len(path):], after) {
			break
		}
		hash := path[len(p.dir)+1:]
		word := bits.ReverseBytes64(load64(string(hash[:8])))
		if (word <= lastWord || lastWord == 0) && path <= last {
			break
		}
		list = append(list, place{start: uint32(start), key: uint16(len(path))})
		pos = start + len(path) + len(after)
		p.pos, separator, last, lastWord = pos, ',', path, word
	}
	p.room.places = list
	return last
}

// onlyOut are the names of the outputs that are used of most inputs. All share it: a
// Set never changes the keys that it has, but makes new ones.
var onlyOut = []string{"out"}

// outputNames reads a list of output names. It is returned as a set.
func (p *parser) outputNames() ([]string, bool) {
	if !p.expect("[") {
		return nil, false
	}
	names, sorted := p.room.strings[:0], true
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.plain()
		if !ok {
			return nil, false
		}
		if n := len(names); n > 0 && names[n-1] >= name {
			sorted = p.disorder(at, names[n-1] == name)
		}
		names = append(names, name)
	}
	p.room.strings = names
	set := names
	if !sorted {
		set = sortedSet(names)
	}
	kept := p.keepNames(set)
	clear(names) // the room must not hold on to the text
	return kept, true
}

// sortedSet sorts in place, and keeps each element once.
func sortedSet[K ~string](list []K) []K {
	slices.Sort(list)
	return slices.Compact(list)
}

// keepNames copies a list of output names out of the room. Those of many inputs share
// an array, so that a thousand inputs are not a thousand allocations.
func (p *parser) keepNames(names []string) []string {
	if len(names) == 1 && names[0] == onlyOut[0] {
		return onlyOut
	}
	if cap(p.names)-len(p.names) < len(names) {
		p.names = make([]string, 0, max(len(names), 2*cap(p.names), 2))
	}
	start := len(p.names)
	p.names = append(p.names, names...)
	return p.names[start:len(p.names):len(p.names)]
}

// inputNode reads which outputs of an input are used where dynamic derivations may
// be: a list of names, or that and what is used of the derivations that the outputs
// are.
func (p *parser) inputNode(depth int) (used InputOutputs, ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == '[' {
		used.Names.keys, ok = p.outputNames()
		return used, ok
	}
	at := p.pos
	if depth == maxDynamicDepth {
		return used, p.fail(at, "", fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
	}
	if p.pos >= len(p.text) || p.text[p.pos] != '(' {
		return used, p.fail(at, "`[` or `(`", "this does not say which outputs of an input are used")
	}
	p.pos++
	if used.Names.keys, ok = p.outputNames(); !ok || !p.expect(",[") {
		return used, false
	}
	list, sorted := []Entry[string, InputOutputs](nil), true
	for first := true; p.more(first); first = false {
		at := p.pos
		child, ok := p.child(depth)
		if !ok {
			return used, false
		}
		if n := len(list); n > 0 && list[n-1].Key >= child.Key {
			sorted = p.disorder(at, list[n-1].Key == child.Key)
		}
		list = append(list, child)
	}
	if len(list) == 0 {
		p.notCanonical(at, "there is room for dynamic outputs and none in it")
	}
	if !sorted {
		slices.Reverse(list) // of two with one name the last counts
		list = sortEntries(list)
	}
	used.Dynamic.entries = list
	return used, p.expect(")")
}

// child reads an output that is a derivation, and which of its outputs are used.
func (p *parser) child(depth int) (e Entry[string, InputOutputs], ok bool) {
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.plain(); !ok || !p.expect(",") {
		return e, false
	}
	at := p.pos
	if e.Value, ok = p.inputNode(depth + 1); !ok {
		return e, false
	}
	if e.Value.Names.Len() == 0 && e.Value.Dynamic.Len() == 0 {
		p.notCanonical(at, "a dynamic output is listed of which no output is used")
	}
	return e, p.expect(")")
}

func (p *parser) inputSources(d *Derivation) bool {
	list, sorted := d.InputSources.keys, true
	for first := true; p.more(first); first = false {
		at := p.pos
		path, ok := p.path()
		if !ok {
			return false
		}
		if n := len(list); n > 0 && list[n-1] >= path {
			sorted = p.disorder(at, list[n-1] == path)
		}
		list = appendTo(list, path)
	}
	if !sorted {
		list = sortedSet(list)
	}
	d.InputSources.keys = slices.Clip(list)
	return true
}

func (p *parser) platform(d *Derivation) (ok bool) {
	start := p.pos
	if d.Platform, ok = p.plain(); !ok {
		return false
	}
	if strings.IndexByte(d.Platform, '"') >= 0 {
		return p.fail(start, "", "the platform has a quote in it, and a text that has it could not be read again")
	}
	return true
}

func (p *parser) args(d *Derivation) bool {
	for first := true; p.more(first); first = false {
		arg, ok := p.string()
		if !ok {
			return false
		}
		d.Args = appendTo(d.Args, arg)
	}
	d.Args = slices.Clip(d.Args)
	return true
}

func (p *parser) env() bool {
	p.room.oddVariables = p.room.oddVariables[:0]
	start := p.pos
	last := p.plainVariables('[', "")
	for first := p.pos == start; p.more(first); first = false {
		at := p.pos
		e, ok := p.variable()
		if !ok {
			return false
		}
		if !first && last >= e.Key {
			p.variableDisorder = !p.disorder(at, last == e.Key)
		}
		p.keepVariable(at, e)
		last = p.plainVariables(',', e.Key)
	}
	p.parsed.variableList = p.spanTo(start)
	return true
}

// keepVariable keeps the variable that begins at offset and was just passed.
func (p *parser) keepVariable(offset int, e Entry[string, string]) {
	const before, after = `("`, `")`
	plainLen := len(before) + len(e.Key) + len(between) + len(e.Value) + len(after) // without escapes
	if p.pos-offset == plainLen && len(e.Key) <= maxPart && len(e.Value) <= maxPart {
		p.room.places = append(p.room.places, place{uint32(offset + len(before)), uint16(len(e.Key)), uint16(len(e.Value))})
		return
	}
	p.room.places = append(p.room.places, oddPlace(len(p.room.oddVariables)))
	p.room.oddVariables = append(p.room.oddVariables, e)
}

// makeMaps makes the two maps of what was kept.
func (p *parser) makeMaps(d *Derivation) {
	all, room := p.parsed, p.room
	all.places, all.oddInputs = room.takePlaces(), copyOf(room.oddInputs)
	all.oddVariables = append(all.oddVariables, room.oddVariables...)
	all.inputSource, all.variableSource = (*parsedInputs)(all), (*parsedVariables)(all)
	d.InputDerivations.source, d.Env.source = &all.inputSource, &all.variableSource
	if p.inputDisorder {
		d.InputDerivations.sort()
	}
	if p.variableDisorder {
		d.Env.sort()
	}
}

// variable reads an environment variable.
func (p *parser) variable() (e Entry[string, string], ok bool) {
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.string(); !ok || !p.expect(",") {
		return e, false
	}
	if e.Value, ok = p.string(); !ok {
		return e, false
	}
	return e, p.expect(")")
}

// plainVariables reads variables as long as they have no escapes and are sorted. It does
// what env and variable do in fewer steps, for variables are the greater part of most
// texts. The first stands after separator, which may have been passed already if it is
// the bracket of the list; the others after a comma. The last name, which was last before,
// is returned.
func (p *parser) plainVariables(separator byte, last string) string {
	const before = `("`
	text, pos, list := p.text, p.pos, p.room.places
	if separator == '[' {
		pos--
	}
	lastWord := uint64(0) // the first eight bytes of last, once it is known; the first byte is highest
	for pos+len(before)+17 <= len(text) && text[pos] == separator && text[pos+1:pos+1+len(before)] == before {
		start := pos + 1 + len(before)
		head := text[start : start+16]
		word := load64(head)
		length := firstOf(hasByte(word, '"'), hasByte(load64(head[8:]), '"'))
		word &= 1<<(8*length) - 1
		middle := start + length
		if length == 16 {
			middle = indexFrom(text, middle, '"')
		}
		begin := middle + len(between)
		if begin+16 > len(text) || text[middle:begin] != between {
			break
		}
		head = text[begin : begin+16]
		end := begin + firstOf(hasByte(load64(head), '"'), hasByte(load64(head[8:]), '"'))
		if end == begin+16 {
			end = indexFrom(text, end, '"')
		}
		if end+2 > len(text) || text[end+1] != ')' || p.nextEscape < end && p.escapeBefore(start, end) {
			break
		}
		key := text[start:middle]
		word = bits.ReverseBytes64(word)
		if len(key) > maxPart || end-begin > maxPart || separator == ',' && (word <= lastWord || lastWord == 0) && key <= last {
			break
		}
		list = append(list, place{uint32(start), uint16(len(key)), uint16(end - begin)})
		last, lastWord = key, word
		pos = end + 2
		p.pos, separator = pos, ','
	}
	p.room.places = list
	return last
}

// escapeBefore reports whether there is a backslash between start and end. It need be
// called only if p.nextEscape is less than end.
func (p *parser) escapeBefore(start, end int) bool {
	if p.nextEscape < start {
		p.nextEscape = indexFrom(p.text, start, '\\')
	}
	return p.nextEscape < end
}
