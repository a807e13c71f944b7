package derivation

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"pix/storepath"
)

// String returns the text of the .drv file. Equal derivations have the same text. Printing the
// result of [ParseCanonical] returns the same bytes.
func (d *Derivation) String() string { return string(d.AppendATerm(nil)) }

// MarshalText returns the text of the .drv file. It never fails.
func (d *Derivation) MarshalText() ([]byte, error) { return d.AppendATerm(nil), nil }

// AppendATerm appends the text of the .drv file to dst and returns the extended slice.
//
// Nix escapes quotes, backslashes, line feeds, carriage returns and tabs in the builder, the
// arguments and the environment. It escapes nothing in output names, hashes, paths and the
// platform. If one of these contains a quote or a backslash, parsing the text fails or returns
// another derivation; see [Derivation.Validate].
func (d *Derivation) AppendATerm(dst []byte) []byte {
	dst = d.appendHeader(dst, false)
	dst = d.appendInputs(dst)
	return d.appendRest(dst, false)
}

// appendInputs appends the input derivations.
func (d *Derivation) appendInputs(dst []byte) []byte {
	if list, ok := d.InputDerivations.verbatim(); ok {
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

// appendHeader appends the text before the list of input derivations.
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

// append appends the three fields of an output. If masked is set, the path is blank.
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

// append appends the used outputs of an input.
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

// appendRest appends the text after the last input derivation. If masked is set, the variables with
// the names of outputs are blank.
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
	if list, ok := d.Env.verbatim(); ok && !masked {
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

// appendComma appends a comma if the i-th element of a list needs one before it.
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

// appendQuoted appends s with quotes and escapes.
func appendQuoted(dst []byte, s string) []byte {
	if hasEscaped(s) {
		return appendEscaped(dst, s)
	}
	return appendPlain(dst, s)
}

// appendEscaped is appendQuoted for a string that needs escapes. It copies eight bytes at a time, up
// to the first byte among them that needs an escape.
func appendEscaped(dst []byte, s string) []byte {
	dst = slices.Grow(dst, 2*len(s)+10) // every byte escaped, two quotes, and eight bytes of a word
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

// escapeOf has the character after the backslash for bytes that Nix escapes, and zero for all
// others.
var escapeOf = [256]byte{'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't'}

// hasEscaped reports whether s needs escapes. It checks eight bytes at a time. The last eight may
// overlap the ones before.
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

// escapedBytes returns 0 if none of the eight bytes is a quote, a backslash, or less than 0x0e, as
// tab, line feed and carriage return are. Otherwise its lowest set bit belongs to the first such
// byte.
func escapedBytes(word uint64) uint64 {
	quotes, slashes := word^ones*'"', word^ones*'\\'
	return ((word-ones*0x0e)&^word | (quotes-ones)&^quotes | (slashes-ones)&^slashes) & highs
}

// unknownDir returns the error of a function that needs the store directory of a derivation without
// one.
func (d *Derivation) unknownDir() *InvalidError {
	return &InvalidError{Name: d.Name, Field: "Dir", Reason: "the store directory is unknown, because the derivation has no paths; set Dir"}
}

// dir returns the store directory, or an error if it is unknown.
func (d *Derivation) dir() (storepath.Dir, error) {
	if d.Dir == "" {
		return "", d.unknownDir()
	}
	return d.Dir, nil
}
