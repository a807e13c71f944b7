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
// with a quote in it is refused, since no text that has it can be read again; and the
// store directory is that of the paths, which must all be in one.
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
	room := new(struct { // most derivations have one output, and are one allocation with it
		Derivation
		output [1]Entry[string, Output]
	})
	d := &room.Derivation
	d.Outputs.entries = room.output[:0]
	if err := p.parse(d); err != nil {
		return nil, err
	}
	if o.Canonical {
		if err := p.canonical(d); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parse reads the text into d.
func (p *parser) parse(d *Derivation) error {
	p.room = rooms.Get().(*room)
	if !p.derivation(d) {
		return p.err
	}
	p.room.release()
	return nil
}

// A parser reads a text from left to right. Its methods return false after the first
// error.
type parser struct {
	text       string
	pos        int            // of the next byte
	nextEscape int            // of the first backslash not before the last string; len(text) if there is none
	dir        storepath.Dir  // of all paths; "" until the first one
	demanded   bool           // that dir was given by the caller
	oddAt      int            // pos after the last string that is not as it stands in the text
	restAt     int            // of the bracket that ends the input derivations
	fixed      storepath.Path // what the last fixed output claims to be its path
	fixedAt    int
	err        *SyntaxError
	note       *NotCanonicalError // the first thing that is not canonical
	room       *room
}

func newParser(text string, dir storepath.Dir) parser {
	return parser{text: text, nextEscape: -1, dir: dir, demanded: dir != ""}
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
	if rest := p.text[p.pos:]; len(rest) < len(token) || rest[:len(token)] != token {
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
// escaped.
func (p *parser) string() (string, bool) {
	if p.pos >= len(p.text) || p.text[p.pos] != '"' {
		return "", p.unexpected(`"`)
	}
	return p.restOfString(p.pos + 1)
}

// restOfString reads a string whose first quote stands before start.
func (p *parser) restOfString(start int) (string, bool) {
	end := indexQuote(p.text, start)
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
			plain := bits.TrailingZeros64(found) / 8 // 8 if there is neither
			at, n = at+plain, n+plain
			if found == 0 {
				continue
			}
		}
		switch c := text[at]; {
		case c == '"':
			p.room.buf, p.pos, p.oddAt = buf, at+1, at+1
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
	switch c := p.text[offset]; c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case '"', '\\':
		return c
	default:
		p.notCanonical(offset-1, fmt.Sprintf("%q is escaped without need", c))
		return c
	}
}

// indexFrom returns the offset of the first c in s from start on, or len(s).
func indexFrom(s string, start int, c byte) int {
	if i := strings.IndexByte(s[start:], c); i >= 0 {
		return start + i
	}
	return len(s)
}

// indexQuote returns the offset of the first quote in s from start on, or len(s).
// Most strings are short: the first 16 bytes are looked at eight at a time, which is
// quicker than a call of the function that is best for long ones.
func indexQuote(s string, start int) int {
	for range 2 {
		if start+8 > len(s) {
			break
		}
		if found := hasByte(load64(s[start:start+8]), '"'); found != 0 {
			return start + bits.TrailingZeros64(found)/8
		}
		start += 8
	}
	return indexFrom(s, start, '"')
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
	start := p.pos
	if path, ok := p.plainPath(start); ok {
		p.pos += len(path) + 2
		return path, true
	}
	s, ok := p.plain()
	if !ok {
		return "", false
	}
	return p.storePath(start+1, s)
}

// plainPath returns the store path that stands in quotes from offset on, if it is
// in the directory that is known and spelled as it should be. It is checked and
// measured in one go.
func (p *parser) plainPath(offset int) (storepath.Path, bool) {
	n := len(p.dir)
	if n == 0 || len(p.text)-offset <= n+2 || p.text[offset] != '"' {
		return "", false
	}
	s := p.text[offset+1:]
	if s[:n] != string(p.dir) || s[n] != '/' {
		return "", false
	}
	base := plainBaseLen(s[n+1:])
	if base == 0 || len(s) == n+1+base || s[n+1+base] != '"' {
		return "", false
	}
	return storepath.Path(s[:n+1+base]), true
}

// storePath checks that s is a store path in the same directory as all others.
func (p *parser) storePath(offset int, s string) (storepath.Path, bool) {
	dir := p.dir
	if dir == "" {
		dir = storepath.DefaultDir // most likely
	}
	if n := len(dir); len(s) > n && s[:n] == string(dir) && s[n] == '/' && plainBaseLen(s[n+1:]) == len(s)-n-1 {
		p.dir = dir
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
		p.oddAt = p.pos
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
	if len(s) < hash+2 || s[hash] != '-' || s[hash+1] == '.' {
		return 0
	}
	all := uint8(inHashPart)
	for _, c := range []byte(s[:hash]) {
		all &= byteClass[c]
	}
	if all == 0 {
		return 0
	}
	end := hash + 1
	for end < len(s) && byteClass[s[end]]&inName != 0 {
		end++
	}
	if end == hash+1 || end > hash+1+storepath.MaxNameLen {
		return 0
	}
	return end
}

// derivation reads the whole text.
func (p *parser) derivation(d *Derivation) bool {
	dynamic, ok := p.header()
	if !ok || !p.outputs(d) || !p.expect(",[") || !p.inputDerivations(d, dynamic) ||
		!p.rest() || !p.inputSources(d) || !p.expect(",") || !p.platform(d) || !p.expect(",") {
		return false
	}
	if d.Builder, ok = p.string(); !ok {
		return false
	}
	if !p.expect(",[") || !p.args(d) || !p.expect(",[") || !p.env(d) || !p.expect(")") {
		return false
	}
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
	return true
}

// rest passes over what stands before the input sources, and keeps where it begins:
// with the bracket that ends the input derivations.
func (p *parser) rest() bool {
	p.restAt = p.pos - 1
	return p.expect(",[")
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

// spanOf says where in the text s is, which was read just before.
func (p *parser) spanOf(s string) span {
	if p.oddAt == p.pos {
		p.room.odd = append(p.room.odd, s)
		return span{start: -len(p.room.odd)}
	}
	return span{p.pos - 1 - len(s), p.pos - 1}
}

// at returns the string at s.
func (p *parser) at(s span) string {
	if s.start < 0 {
		return p.room.odd[-s.start-1]
	}
	return p.text[s.start:s.end]
}

// stringsAt makes a list of the strings at these places; nil if there are none.
func stringsAt[K ~string](p *parser, spans []span) []K {
	if len(spans) == 0 {
		return nil
	}
	list := make([]K, len(spans))
	for i, s := range spans {
		list[i] = K(p.at(s))
	}
	return list
}

func (p *parser) outputs(d *Derivation) bool {
	var few [4]Entry[string, Output] // as most derivations have
	list, sorted := few[:0], true
	for first := true; p.more(first); first = false {
		at := p.pos
		if !p.expect("(") {
			return false
		}
		name, ok := p.plain()
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
		list = append(list, Entry[string, Output]{name, output})
	}
	if len(list) > cap(d.Outputs.entries) {
		d.Outputs.entries = make([]Entry[string, Output], 0, len(list))
	}
	d.Outputs.entries = append(d.Outputs.entries, list...)
	if !sorted {
		d.Outputs.entries = sortEntries(d.Outputs.entries) // of two with one name the first counts
	}
	return true
}

// output reads the three fields of an output after its name.
func (p *parser) output() (o Output, ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == ',' {
		if path, ok := p.plainPath(p.pos + 1); ok {
			// Most outputs are input-addressed.
			const rest = `,"",""`
			if after := p.text[p.pos+len(path)+3:]; len(after) > len(rest) && after[:len(rest)] == rest {
				p.pos += len(path) + 3 + len(rest)
				return InputAddressedOutput(path), true
			}
		}
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
	if len(s) == 2*algo.Size() && isLowerHex(s) {
		return s, nil
	}
	p.notCanonical(offset, "the hash is not in lower-case hex")
	hash, err := nixhash.ParseUnprefixed(s, algo)
	return hash.Base16(), err
}

func isLowerHex(s string) bool {
	all := uint8(inHex)
	for i := range len(s) {
		all &= byteClass[s[i]]
	}
	return all != 0
}

func (p *parser) inputDerivations(d *Derivation, dynamic bool) bool {
	paths, sorted := p.room.spans[:0], true
	p.room.names, p.room.ends = p.room.names[:0], p.room.ends[:0]
	var children []Map[string, InputOutputs] // one for each path, if dynamic
	var last storepath.Path
	for first := true; p.more(first); first = false {
		at, names := p.pos, len(p.room.names)
		if !p.expect("(") {
			return false
		}
		path, ok := p.path()
		if !ok {
			return false
		}
		paths = append(paths, p.spanOf(string(path)))
		var child Map[string, InputOutputs]
		if !p.justOut() {
			if !p.expect(",") {
				return false
			}
			if dynamic {
				child, ok = p.inputNode(0)
			} else {
				ok = p.names()
			}
			if !ok || !p.expect(")") {
				return false
			}
		}
		if dynamic {
			children = append(children, child)
		}
		if !first && last >= path {
			sorted = p.disorder(at, last == path)
		}
		if len(p.room.names) == names && child.Len() == 0 {
			p.notCanonical(at, "an input derivation is listed of which no output is used")
		}
		last = path
		p.room.ends = append(p.room.ends, len(p.room.names))
	}
	p.room.spans = paths
	p.makeInputs(d, children)
	if !sorted {
		slices.Reverse(d.InputDerivations.entries) // of two with one path the last counts
		d.InputDerivations.entries = sortEntries(d.InputDerivations.entries)
	}
	return true
}

// makeInputs makes the input derivations of what was collected.
func (p *parser) makeInputs(d *Derivation, children []Map[string, InputOutputs]) {
	if len(p.room.spans) == 0 {
		return
	}
	all, start := stringsAt[string](p, p.room.names), 0
	list := make([]Entry[storepath.Path, InputOutputs], len(p.room.spans))
	for i, path := range p.room.spans {
		end := p.room.ends[i]
		list[i].Key = storepath.Path(p.at(path))
		list[i].Value.Names.keys = all[start:end:end]
		if children != nil {
			list[i].Value.Dynamic = children[i]
		}
		start = end
	}
	d.InputDerivations.entries = list
}

// justOut passes over what most inputs end in: that the output "out" is used alone.
func (p *parser) justOut() bool {
	const token = `,["out"])`
	rest := p.text[p.pos:]
	if len(rest) < len(token) || rest[:len(token)] != token {
		return false
	}
	p.room.names = append(p.room.names, span{p.pos + 3, p.pos + 6})
	p.pos += len(token)
	return true
}

// names reads a list of output names and adds it, as a set, to those in the room.
func (p *parser) names() bool {
	if !p.expect("[") {
		return false
	}
	names, sorted := p.room.names, true
	start, last := len(names), ""
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.plain()
		if !ok {
			return false
		}
		if !first && last >= name {
			sorted = p.disorder(at, last == name)
		}
		names, last = append(names, p.spanOf(name)), name
	}
	if !sorted {
		names = names[:start+len(p.sortSpans(names[start:]))]
	}
	p.room.names = names
	return true
}

// sortSpans sorts by what is there, and keeps each string once.
func (p *parser) sortSpans(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return strings.Compare(p.at(a), p.at(b)) })
	return slices.CompactFunc(spans, func(a, b span) bool { return p.at(a) == p.at(b) })
}

// inputNode reads which outputs of an input are used where dynamic derivations may
// be: a list of names, or that and what is used of the derivations that the outputs
// are. The names of the input itself are added to those in the room.
func (p *parser) inputNode(depth int) (children Map[string, InputOutputs], ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == '[' {
		return children, p.names()
	}
	at := p.pos
	if depth == maxDynamicDepth {
		return children, p.fail(at, "", fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
	}
	if p.pos >= len(p.text) || p.text[p.pos] != '(' {
		return children, p.fail(at, "`[` or `(`", "this does not say which outputs of an input are used")
	}
	p.pos++
	if !p.names() || !p.expect(",[") {
		return children, false
	}
	list, sorted := []Entry[string, InputOutputs](nil), true
	for first := true; p.more(first); first = false {
		at := p.pos
		child, ok := p.child(depth)
		if !ok {
			return children, false
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
	children.entries = list
	return children, p.expect(")")
}

// child reads an output that is a derivation, and which of its outputs are used.
func (p *parser) child(depth int) (e Entry[string, InputOutputs], ok bool) {
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.plain(); !ok || !p.expect(",") {
		return e, false
	}
	at, start := p.pos, len(p.room.names)
	if e.Value.Dynamic, ok = p.inputNode(depth + 1); !ok {
		return e, false
	}
	e.Value.Names.keys = stringsAt[string](p, p.room.names[start:])
	p.room.names = p.room.names[:start] // what is left there are the names of the input itself
	if e.Value.Names.Len() == 0 && e.Value.Dynamic.Len() == 0 {
		p.notCanonical(at, "a dynamic output is listed of which no output is used")
	}
	return e, p.expect(")")
}

func (p *parser) inputSources(d *Derivation) bool {
	spans, sorted := p.room.spans[:0], true
	var last storepath.Path
	for first := true; p.more(first); first = false {
		at := p.pos
		path, ok := p.path()
		if !ok {
			return false
		}
		if !first && last >= path {
			sorted = p.disorder(at, last == path)
		}
		spans, last = append(spans, p.spanOf(string(path))), path
	}
	p.room.spans = spans
	if !sorted {
		spans = p.sortSpans(spans)
	}
	d.InputSources.keys = stringsAt[storepath.Path](p, spans)
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
	spans := p.room.spans[:0]
	for first := true; p.more(first); first = false {
		arg, ok := p.string()
		if !ok {
			return false
		}
		spans = append(spans, p.spanOf(arg))
	}
	p.room.spans = spans
	d.Args = stringsAt[string](p, spans)
	return true
}

func (p *parser) env(d *Derivation) bool {
	spans, sorted := p.room.spans[:0], true // keys and values in turn
	last := ""
	for first := true; p.more(first); first = false {
		at := p.pos
		key, value, ok := p.variable()
		if !ok {
			return false
		}
		if k := p.at(key); !first && last >= k {
			sorted = p.disorder(at, last == k)
		}
		spans, last = p.plainVariables(append(spans, key, value), p.at(key))
	}
	p.room.spans = spans
	if len(spans) == 0 {
		return true
	}
	list := make([]Entry[string, string], len(spans)/2)
	for i := range list {
		list[i] = Entry[string, string]{p.at(spans[2*i]), p.at(spans[2*i+1])}
	}
	if !sorted {
		slices.Reverse(list) // of two with one name the last counts
		list = sortEntries(list)
	}
	d.Env.entries = list
	return true
}

// variable reads an environment variable.
func (p *parser) variable() (key, value span, ok bool) {
	if !p.expect("(") {
		return key, value, false
	}
	s, ok := p.string()
	if !ok {
		return key, value, false
	}
	key = p.spanOf(s)
	if !p.expect(",") {
		return key, value, false
	}
	if s, ok = p.string(); !ok {
		return key, value, false
	}
	value = p.spanOf(s)
	return key, value, p.expect(")")
}

// plainVariables reads variables as long as they have no escapes, follow a comma and
// are sorted. It does what env and variable do in fewer steps, for variables are the
// greater part of most texts.
func (p *parser) plainVariables(spans []span, last string) ([]span, string) {
	text, pos := p.text, p.pos
	lastWord := uint64(0) // the first eight bytes of last, once it is known; the first byte is highest
	for pos+16 <= len(text) && text[pos] == ',' && text[pos+1] == '(' && text[pos+2] == '"' {
		start := pos + 3
		middle := start + 8
		word := load64(text[start : start+8])
		if found := hasByte(word, '"'); found != 0 {
			n := bits.TrailingZeros64(found) / 8
			middle = start + n
			word &= 1<<(8*n) - 1
		} else {
			middle = indexQuote(text, middle)
		}
		if middle+11 > len(text) || text[middle+1] != ',' || text[middle+2] != '"' {
			break
		}
		end := middle + 11
		if found := hasByte(load64(text[middle+3:end]), '"'); found != 0 {
			end = middle + 3 + bits.TrailingZeros64(found)/8
		} else {
			end = indexQuote(text, end)
		}
		if end+2 > len(text) || text[end+1] != ')' || p.nextEscape < end && p.escapeBefore(start, end) {
			break
		}
		if word = bits.ReverseBytes64(word); (word <= lastWord || lastWord == 0) && text[start:middle] <= last {
			break
		}
		last, lastWord = text[start:middle], word
		spans = append(spans, span{start, middle}, span{middle + 3, end})
		pos = end + 2
	}
	p.pos = pos
	return spans, last
}

// escapeBefore reports whether there is a backslash between start and end. It need be
// called only if p.nextEscape is less than end.
func (p *parser) escapeBefore(start, end int) bool {
	if p.nextEscape < start {
		p.nextEscape = indexFrom(p.text, start, '\\')
	}
	return p.nextEscape < end
}
