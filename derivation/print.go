package derivation

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"pix/storepath"
)

// String returns the text of the .drv file, which is the same for equal derivations,
// whatever they were made from. What [ParseCanonical] takes comes back byte for
// byte.
func (d *Derivation) String() string { return string(d.AppendATerm(nil)) }

// MarshalText returns the text of the .drv file. It never fails.
func (d *Derivation) MarshalText() ([]byte, error) { return d.AppendATerm(nil), nil }

// AppendATerm appends the text of the .drv file to dst and returns the longer slice.
//
// Nix escapes quotes, backslashes, line feeds, carriage returns and tabs in the
// builder, the arguments and the environment, and nothing at all in output names,
// hashes, paths and the platform. A derivation with a quote or a backslash there has
// a text that is read as something else or not at all; see [Derivation.Validate].
func (d *Derivation) AppendATerm(dst []byte) []byte {
	dst = d.appendHeader(dst, false)
	dst = d.appendInputs(dst)
	return d.appendRest(dst, false)
}

// appendInputs appends the input derivations.
func (d *Derivation) appendInputs(dst []byte) []byte {
	if list, ok := d.InputDerivations.written(); ok {
		return append(dst, list...)
	}
	for i := range d.InputDerivations.Len() {
		path, used := d.InputDerivations.At(i)
		dst = appendComma(dst, i)
		dst = append(dst, '(')
		dst = appendPlain(dst, string(path))
		dst = append(dst, ',')
		dst = used.append(dst)
		dst = append(dst, ')')
	}
	return dst
}

// appendHeader appends what stands before the list of input derivations.
func (d *Derivation) appendHeader(dst []byte, masked bool) []byte {
	if d.IsDynamic() {
		dst = append(dst, `DrvWithVersion("`+dynamicVersion+`",[`...)
	} else {
		dst = append(dst, "Derive(["...)
	}
	for i := range d.Outputs.entries {
		e := &d.Outputs.entries[i]
		dst = appendComma(dst, i)
		dst = append(dst, '(')
		dst = appendPlain(dst, e.Key)
		dst = e.Value.append(dst, masked)
		dst = append(dst, ')')
	}
	return append(dst, "],["...)
}

// append appends the three fields of an output, the path blanked if masked.
func (o *Output) append(dst []byte, masked bool) []byte {
	path := o.path
	if masked {
		path = ""
	}
	dst = append(dst, ',')
	dst = appendPlain(dst, string(path))
	if o.kind != Fixed && o.kind != Floating && o.kind != Impure {
		return append(dst, `,"",""`...)
	}
	dst = append(dst, `,"`...)
	dst = append(dst, o.method.Prefix()...)
	dst = append(dst, o.algo.String()...)
	dst = append(dst, `","`...)
	switch o.kind {
	case Fixed:
		dst = append(dst, o.digest...)
	case Impure:
		dst = append(dst, impureField...)
	case InputAddressed, Floating, Deferred:
	}
	return append(dst, '"')
}

// append appends which outputs of an input are used.
func (i InputOutputs) append(dst []byte) []byte {
	if i.Dynamic.Len() == 0 {
		return appendPlainList(dst, i.Names.keys)
	}
	dst = append(dst, '(')
	dst = appendPlainList(dst, i.Names.keys)
	dst = append(dst, ",["...)
	for n, e := range i.Dynamic.entries {
		dst = appendComma(dst, n)
		dst = append(dst, '(')
		dst = appendPlain(dst, e.Key)
		dst = append(dst, ',')
		dst = e.Value.append(dst)
		dst = append(dst, ')')
	}
	return append(dst, "])"...)
}

// appendRest appends what stands after the last input derivation, with the variables
// that are named like outputs blanked if masked.
func (d *Derivation) appendRest(dst []byte, masked bool) []byte {
	dst = append(dst, "],"...)
	dst = appendPlainList(dst, d.InputSources.keys)
	dst = append(dst, ',')
	dst = appendPlain(dst, d.Platform)
	dst = append(dst, ',')
	dst = appendQuoted(dst, d.Builder)
	dst = append(dst, ",["...)
	for i, arg := range d.Args {
		dst = appendComma(dst, i)
		dst = appendQuoted(dst, arg)
	}
	dst = append(dst, "],["...)
	dst = d.appendVariables(dst, masked)
	return append(dst, "])"...)
}

// appendVariables appends the environment.
func (d *Derivation) appendVariables(dst []byte, masked bool) []byte {
	if list, ok := d.Env.written(); ok && !masked {
		return append(dst, list...)
	}
	for i := range d.Env.Len() {
		key, value := d.Env.At(i)
		dst = appendComma(dst, i)
		dst = append(dst, '(')
		dst = appendQuoted(dst, key)
		dst = append(dst, ',')
		if masked && d.Outputs.Has(key) {
			dst = append(dst, `""`...)
		} else {
			dst = appendQuoted(dst, value)
		}
		dst = append(dst, ')')
	}
	return dst
}

// appendComma appends what stands before the i-th element of a list.
func appendComma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}

func appendPlain(dst []byte, s string) []byte {
	return append(append(append(dst, '"'), s...), '"')
}

func appendPlainList[K ~string](dst []byte, list []K) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		dst = appendComma(dst, i)
		dst = appendPlain(dst, string(s))
	}
	return append(dst, ']')
}

// appendQuoted appends s in quotes, escaped.
func appendQuoted(dst []byte, s string) []byte {
	if hasEscaped(s) {
		return appendEscaped(dst, s)
	}
	return appendPlain(dst, s)
}

// appendEscaped does what appendQuoted does where something is escaped. It copies
// eight bytes at a time, and then goes on after those of them that stand before one
// that is escaped.
func appendEscaped(dst []byte, s string) []byte {
	dst = slices.Grow(dst, 2*len(s)+10) // all escaped, two quotes, and eight bytes of a word
	buf, n := dst[:cap(dst)], len(dst)+1
	buf[n-1] = '"'
	for i := 0; i < len(s); {
		if i+8 <= len(s) {
			word := load64(s[i : i+8])
			binary.LittleEndian.PutUint64(buf[n:], word)
			found := escapedBytes(word)
			plain := bits.TrailingZeros64(found) / 8 // 8 if there is none
			i, n = i+plain, n+plain
			if found == 0 {
				continue
			}
		}
		if escape := escapeOf[s[i]]; escape != 0 {
			buf[n], buf[n+1] = '\\', escape
			n++
		} else {
			buf[n] = s[i]
		}
		i, n = i+1, n+1
	}
	buf[n] = '"'
	return dst[:n+1]
}

// escapeOf has what stands after the backslash for the bytes that are escaped, and
// zero for all others.
var escapeOf = [256]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't'}

// hasEscaped reports whether a byte of s is escaped. It looks at eight at a time; the
// last eight may overlap those before them.
func hasEscaped(s string) bool {
	if len(s) < 8 {
		return hasEscapedByte(s)
	}
	for i := 0; i < len(s)-8; i += 8 {
		if escapedBytes(load64(s[i:i+8])) != 0 && hasEscapedByte(s[i:i+8]) {
			return true
		}
	}
	return escapedBytes(load64(s[len(s)-8:])) != 0 && hasEscapedByte(s[len(s)-8:])
}

func hasEscapedByte(s string) bool {
	found := byte(0)
	for i := range len(s) {
		found |= escapeOf[s[i]]
	}
	return found != 0
}

// escapedBytes returns a word that is zero unless one of eight bytes is a quote, a
// backslash, or less than 0x0e, as tab, line feed and carriage return are. The lowest
// bit that is set belongs to the first of them.
func escapedBytes(word uint64) uint64 {
	quotes, slashes := word^ones*'"', word^ones*'\\'
	return ((word-ones*0x0e)&^word | (quotes-ones)&^quotes | (slashes-ones)&^slashes) & highs
}

// unknownDir is what a function returns that needs the store directory of a
// derivation that does not say it.
func (d *Derivation) unknownDir() *InvalidError {
	return &InvalidError{Name: d.Name, Field: "Dir", Reason: "the derivation has no path that says in which store directory it lies; set it"}
}

// dir returns the store directory, which must be known.
func (d *Derivation) dir() (storepath.Dir, error) {
	if d.Dir == "" {
		return "", d.unknownDir()
	}
	return d.Dir, nil
}
