package builder

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// structuredContent returns the content of a derivation with structured attributes: two files, and variables with
// their names. The builder does not get the variables of the derivation. graphs are the closures that the derivation
// asks for, as JSON.
//
// See prepareStructuredAttrs and writeShell in Nix's src/libstore/parsed-derivations.cc.
func structuredContent(d *derivation.Derivation, graphs map[string]string) (*content, error) {
	attrs, _, err := d.StructuredAttrs()
	if err != nil {
		return nil, err
	}
	members := maps.Collect(attrs.All())
	members["outputs"] = outputsJSON(d)
	maps.Copy(members, graphs)
	text, err := spelledByNix(members)
	if err != nil {
		return nil, err
	}
	shell, err := shellVariables(text)
	if err != nil {
		return nil, err
	}
	c := newContent()
	c.addFile("NIX_ATTRS_SH_FILE", ".attrs.sh", shell)
	c.addFile("NIX_ATTRS_JSON_FILE", ".attrs.json", text)
	return c, nil
}

// outputsJSON returns an object of the placeholders of the outputs, by name.
func outputsJSON(d *derivation.Derivation) string {
	var members []string
	for name := range d.Outputs.Keys() {
		members = append(members, quoteJSON(name)+":"+quoteJSON(string(storepath.OwnPlaceholder(name))))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// spelledByNix returns a JSON object with the members, whose values are JSON, exactly as Nix writes it. Builders may
// hash the text.
func spelledByNix(members map[string]string) (string, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoteJSON(name) + ":" + members[name])
	}
	b.WriteByte('}')
	var d derivation.Derivation
	d.Env.Set(derivation.StructuredAttrsKey, b.String())
	text, _, err := d.NormalizedStructuredAttrs()
	return text, err
}

// quoteJSON returns a string as JSON. Strings here are UTF-8: structured attributes must be, and store paths are.
func quoteJSON(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(quoted)
}

// shellVariables returns declarations of bash for the members of a JSON object. It leaves out members that bash
// cannot represent.
func shellVariables(text string) (string, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var attrs map[string]any
	if err := d.Decode(&attrs); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if !isShellName(name) {
			continue
		}
		switch value := attrs[name].(type) {
		case []any:
			if list, ok := shellArray(value); ok {
				fmt.Fprintf(&b, "declare -a %s=(%s)\n", name, list)
			}
		case map[string]any:
			if list, ok := shellMap(value); ok {
				fmt.Fprintf(&b, "declare -A %s=(%s)\n", name, list)
			}
		default:
			if word, ok := shellWord(value); ok {
				fmt.Fprintf(&b, "declare %s=%s\n", name, word)
			}
		}
	}
	return b.String(), nil
}

// isShellName reports whether s matches [A-Za-z_][A-Za-z0-9_]*.
func isShellName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func shellArray(values []any) (list string, ok bool) {
	var b strings.Builder
	for _, value := range values {
		word, ok := shellWord(value)
		if !ok {
			return "", false
		}
		b.WriteString(word + " ")
	}
	return b.String(), true
}

func shellMap(values map[string]any) (list string, ok bool) {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		word, ok := shellWord(values[key])
		if !ok {
			return "", false
		}
		fmt.Fprintf(&b, "[%s]=%s ", quoteShell(key), word)
	}
	return b.String(), true
}

// shellWord returns a simple value as a word of the shell.
func shellWord(value any) (word string, ok bool) {
	switch value := value.(type) {
	case string:
		return quoteShell(value), true
	case json.Number:
		return shellNumber(string(value))
	case nil:
		return "''", true
	case bool:
		if value {
			return "1", true
		}
		return "", true
	}
	return "", false
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shellNumber returns an integral number as Nix on x86 converts it to a C int: it keeps only the lower 32 bits of
// large integers, and large floating-point numbers become the smallest int. Builders see these values, so pix must
// return the same. Nix checks in single precision whether a number is integral.
func shellNumber(s string) (word string, ok bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "", false
	}
	if single := float64(float32(f)); math.Ceil(single) != single {
		return "", false
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.Itoa(int(int32(n))), true
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return strconv.Itoa(int(int32(n))), true
	}
	if f >= math.MaxInt32+1 || f <= math.MinInt32-1 {
		return strconv.Itoa(math.MinInt32), true
	}
	return strconv.Itoa(int(f)), true
}

// replacedAttributes are the attributes that the attribute outputChecks replaces in a derivation with structured attributes.
var replacedAttributes = []string{"allowedReferences", "allowedRequisites", "disallowedRequisites", "disallowedReferences", "maxSize", "maxClosureSize"}

// warnOfIgnored warns about options that have no effect. Nix does so each time when it reads the derivation.
func (b *build) warnOfIgnored() error {
	attrs, ok, err := b.drv.StructuredAttrs()
	if err != nil || !ok {
		return err
	}
	for _, name := range replacedAttributes {
		if _, ok := attrs.Get(name); ok {
			b.warn("'structuredAttrs' disables the effect of the top-level attribute '" + name + "'; use 'outputChecks' instead")
		}
	}
	if _, ok := b.drv.Env.Get("passAsFile"); ok {
		b.warn("'structuredAttrs' disables the effect of the top-level attribute 'passAsFile'; because all JSON is always passed via file")
	}
	if graph, ok := attrs.Get("exportReferencesGraph"); ok && !strings.HasPrefix(graph, "{") {
		b.warn("'exportReferencesGraph' in structured attrs is not a JSON object, ignoring")
	}
	return nil
}
