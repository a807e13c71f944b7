package derivation

import (
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
	d := new(Derivation)
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
	if p.nextEscape < end {
		if p.nextEscape < start {
			p.nextEscape = indexFrom(p.text, start, '\\')
		}
		if p.nextEscape < end {
			return p.escapedString(start, end)
		}
	}
	p.pos = end + 1
	return p.text[start:end], true
}

// escapedString reads a string with at least one backslash, whose content begins at
// start and whose first quote stands at quote.
func (p *parser) escapedString(start, quote int) (string, bool) {
	buf := p.room.buf[:0]
	at, escape := start, p.nextEscape
	for escape < quote {
		if escape+1 == len(p.text) {
			break
		}
		buf = append(buf, p.text[at:escape]...)
		buf = append(buf, p.unescape(escape+1))
		at = escape + 2
		if quote == escape+1 {
			quote = indexFrom(p.text, at, '"')
		}
		escape = indexFrom(p.text, at, '\\')
	}
	p.nextEscape = escape
	if quote == len(p.text) || escape < quote {
		return "", p.fail(start-1, "", "the string that begins here has no end")
	}
	buf = append(buf, p.text[at:quote]...)
	p.room.buf = buf
	p.pos = quote + 1
	return string(buf), true
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

// path reads a store path. Those that are spelled as they should be are checked
// and measured in one go.
func (p *parser) path() (storepath.Path, bool) {
	start := p.pos
	if n := len(p.dir); n > 0 && len(p.text)-start > n+2 && p.text[start] == '"' {
		s := p.text[start+1:]
		if s[:n] == string(p.dir) && s[n] == '/' {
			if base := plainBaseLen(s[n+1:]); base > 0 && len(s) > n+1+base && s[n+1+base] == '"' {
				p.pos = start + 1 + n + 1 + base + 1
				return storepath.Path(s[:n+1+base]), true
			}
		}
	}
	s, ok := p.plain()
	if !ok {
		return "", false
	}
	return p.storePath(start+1, s)
}

// storePath checks that s is a store path in the same directory as all others.
func (p *parser) storePath(offset int, s string) (storepath.Path, bool) {
	n := len(p.dir)
	if n > 0 && len(s) > n && s[:n] == string(p.dir) && s[n] == '/' && plainBaseLen(s[n+1:]) == len(s)-n-1 {
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

// Bits of baseClass: where in the last component of a store path a byte may stand.
const (
	inHashPart = 1 << iota
	inName
)

var baseClass = func() (t [256]uint8) {
	for c := range 256 {
		if nixbase32.IsDigit(byte(c)) {
			t[c] |= inHashPart
		}
		if storepath.CheckName("x"+string([]byte{byte(c)})) == nil {
			t[c] |= inName
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
		all &= baseClass[c]
	}
	if all == 0 {
		return 0
	}
	end := hash + 1
	for end < len(s) && baseClass[s[end]]&inName != 0 {
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

// order says how a key stands to the one before it in a list that Nix sorts.
func (p *parser) order(offset int, less, equal bool) (sorted bool) {
	switch {
	case less:
		return true
	case equal:
		p.notCanonical(offset, "this is there twice")
	default:
		p.notCanonical(offset, "this stands in a sorted list after something greater")
	}
	return false
}

func (p *parser) outputs(d *Derivation) bool {
	list, sorted := p.room.outputs[:0], true
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
		if n := len(list); n > 0 {
			last := list[n-1].Key
			sorted = p.order(at, last < name, last == name) && sorted
		}
		list = append(list, Entry[string, Output]{name, output})
	}
	p.room.outputs = list
	if !sorted {
		list = sortEntries(list) // of two with one name the first counts
	}
	d.Outputs.entries = slices.Clone(list)
	return true
}

// output reads the three fields of an output after its name.
func (p *parser) output() (o Output, ok bool) {
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
	return Output{kind: Fixed, method: method, hash: digest, path: p.fixed}
}

// digest reads the hash of a fixed output in any encoding; Nix writes lower-case hex.
func (p *parser) digest(offset int, s string, algo nixhash.Algorithm) (nixhash.Hash, error) {
	var digest [64]byte
	if n := algo.Size(); len(s) == 2*n && decodeLowerHex(digest[:n], s) {
		return nixhash.FromDigest(algo, digest[:n])
	}
	p.notCanonical(offset, "the hash is not in lower-case hex")
	return nixhash.ParseUnprefixed(s, algo)
}

// decodeLowerHex fills dst, and reports whether s has nothing but lower-case hex.
func decodeLowerHex(dst []byte, s string) bool {
	bad := byte(0)
	for i := range dst {
		high, low := hexValues[s[2*i]], hexValues[s[2*i+1]]
		bad |= high | low
		dst[i] = high<<4 | low&0xf
	}
	return bad < 16
}

var hexValues = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for v, c := range []byte("0123456789abcdef") {
		t[c] = byte(v)
	}
	return t
}()

func (p *parser) inputDerivations(d *Derivation, dynamic bool) bool {
	list, sorted := p.room.inputs[:0], true
	names, ends := p.room.names[:0], p.room.ends[:0]
	for first := true; p.more(first); first = false {
		at := p.pos
		if !p.expect("(") {
			return false
		}
		path, ok := p.path()
		if !ok || !p.expect(",") {
			return false
		}
		var children Map[string, InputOutputs]
		if rest := p.text[p.pos:]; len(rest) >= len(justOut) && rest[:len(justOut)] == justOut {
			names = append(names, rest[2:5])
			p.pos += len(justOut)
		} else if dynamic {
			if names, children, ok = p.inputNode(names, 0); !ok {
				return false
			}
		} else if names, ok = p.names(names); !ok {
			return false
		}
		if !p.expect(")") {
			return false
		}
		if n := len(list); n > 0 {
			last := list[n-1].Key
			sorted = p.order(at, last < path, last == path) && sorted
		}
		if start := lastOr(ends, 0); len(names) == start && children.Len() == 0 {
			p.notCanonical(at, "an input derivation is listed of which no output is used")
		}
		list = append(list, Entry[storepath.Path, InputOutputs]{path, InputOutputs{Dynamic: children}})
		ends = append(ends, len(names))
	}
	p.room.inputs, p.room.names, p.room.ends = list, names, ends

	all, start := slices.Clone(names), 0
	for i, end := range ends {
		list[i].Value.Names.keys = all[start:end:end]
		start = end
	}
	if !sorted {
		slices.Reverse(list) // of two with one path the last counts
		list = sortEntries(list)
	}
	d.InputDerivations.entries = slices.Clone(list)
	return true
}

// justOut is what most input derivations are used for.
const justOut = `["out"]`

func lastOr(s []int, otherwise int) int {
	if len(s) == 0 {
		return otherwise
	}
	return s[len(s)-1]
}

// names reads a list of output names and appends it, as a set, to all.
func (p *parser) names(all []string) ([]string, bool) {
	if !p.expect("[") {
		return all, false
	}
	start, sorted := len(all), true
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.plain()
		if !ok {
			return all, false
		}
		if n := len(all); n > start {
			last := all[n-1]
			sorted = p.order(at, last < name, last == name) && sorted
		}
		all = append(all, name)
	}
	if !sorted {
		slices.Sort(all[start:])
		all = all[:start+len(slices.Compact(all[start:]))]
	}
	return all, true
}

// inputNode reads which outputs of an input are used where dynamic derivations may
// be: a list of names, or that and what is used of the derivations that the outputs
// are. The names of the input itself are appended to all.
func (p *parser) inputNode(all []string, depth int) (_ []string, children Map[string, InputOutputs], ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == '[' {
		all, ok = p.names(all)
		return all, children, ok
	}
	at := p.pos
	if depth == maxDynamicDepth {
		return all, children, p.fail(at, "", fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
	}
	if p.pos >= len(p.text) || p.text[p.pos] != '(' {
		return all, children, p.fail(at, "`[` or `(`", "this does not say which outputs of an input are used")
	}
	p.pos++
	if all, ok = p.names(all); !ok || !p.expect(",[") {
		return all, children, false
	}
	list, sorted := []Entry[string, InputOutputs](nil), true
	for first := true; p.more(first); first = false {
		at := p.pos
		child, ok := p.child(depth)
		if !ok {
			return all, children, false
		}
		if n := len(list); n > 0 {
			last := list[n-1].Key
			sorted = p.order(at, last < child.Key, last == child.Key) && sorted
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
	return all, children, p.expect(")")
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
	names, children, ok := p.inputNode(nil, depth+1)
	if !ok {
		return e, false
	}
	if len(names) == 0 && children.Len() == 0 {
		p.notCanonical(at, "a dynamic output is listed of which no output is used")
	}
	e.Value = InputOutputs{Set[string]{names}, children}
	return e, p.expect(")")
}

func (p *parser) inputSources(d *Derivation) bool {
	list, sorted := p.room.sources[:0], true
	for first := true; p.more(first); first = false {
		at := p.pos
		path, ok := p.path()
		if !ok {
			return false
		}
		if n := len(list); n > 0 {
			last := list[n-1]
			sorted = p.order(at, last < path, last == path) && sorted
		}
		list = append(list, path)
	}
	p.room.sources = list
	if !sorted {
		slices.Sort(list)
		list = slices.Compact(list)
	}
	d.InputSources.keys = slices.Clone(list)
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
	list := p.room.args[:0]
	for first := true; p.more(first); first = false {
		arg, ok := p.string()
		if !ok {
			return false
		}
		list = append(list, arg)
	}
	p.room.args = list
	d.Args = slices.Clone(list)
	return true
}

func (p *parser) env(d *Derivation) bool {
	list, sorted := p.room.env[:0], true
	for first := true; p.more(first); first = false {
		at := p.pos
		key, value, ok := p.variable()
		if !ok {
			return false
		}
		if n := len(list); n > 0 && list[n-1].Key >= key {
			sorted = p.order(at, false, list[n-1].Key == key)
		}
		list = append(list, Entry[string, string]{key, value})
	}
	p.room.env = list
	if !sorted {
		slices.Reverse(list) // of two with one name the last counts
		list = sortEntries(list)
	}
	d.Env.entries = slices.Clone(list)
	return true
}

// variable reads an environment variable. They are the greater part of most texts.
func (p *parser) variable() (key, value string, ok bool) {
	if !p.expect(`("`) {
		return "", "", false
	}
	if key, ok = p.restOfString(p.pos); !ok || !p.expect(`,"`) {
		return "", "", false
	}
	if value, ok = p.restOfString(p.pos); !ok || !p.expect(")") {
		return "", "", false
	}
	return key, value, true
}
