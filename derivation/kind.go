package derivation

// Kind returns the one kind that the outputs of d have. It is an error, an
// [*InvalidError], if Nix would not have it so: if there is no output, if there are
// several kinds, if there are two fixed outputs or one that is not called "out", or
// if floating outputs are hashed in different ways.
func (d *Derivation) Kind() (OutputKind, error) {
	if d.Outputs.Len() == 0 {
		return 0, &InvalidError{Name: d.Name, Field: "outputs", Reason: "must have at least one output"}
	}
	_, first := d.Outputs.At(0)
	for i := range d.Outputs.entries {
		if reason := whyNotTogether(&first, &d.Outputs.entries[i]); reason != "" {
			return 0, &InvalidError{Name: d.Name, Field: outputField(d.Outputs.entries[i].Key), Reason: reason}
		}
	}
	if first.kind == Fixed && d.Outputs.Len() > 1 {
		return 0, &InvalidError{Name: d.Name, Field: "outputs", Reason: "only one fixed output is allowed for now"}
	}
	return first.kind, nil
}

// whyNotTogether returns why an output cannot be in one derivation with the first, in the words of
// Nix where it has any, or "".
func whyNotTogether(first *Output, e *Entry[string, Output]) string {
	o := &e.Value
	switch {
	case o.kind == 0:
		return "the output is of no kind"
	case o.kind != first.kind:
		return "can't mix derivation output types"
	case o.kind == Fixed && e.Key != "out":
		return `single fixed output must be named "out"`
	case o.kind == Floating && o.algo != first.algo:
		return "all floating outputs must use the same hash algorithm"
	}
	return ""
}

func outputField(name string) string { return "output \"" + name + "\"" }
