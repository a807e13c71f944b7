package derivation

// Kind returns the one kind that the outputs of d have. It is an error, an
// [*InvalidError], if Nix would not have it so: if there is no output, if there are
// several kinds, if there are two fixed outputs or one that is not called "out", or
// if floating outputs are hashed in different ways.
func (d *Derivation) Kind() (OutputKind, error) {
	if d.Outputs.Len() == 0 {
		return 0, &InvalidError{Name: d.Name, Field: "outputs", Reason: "there must be at least one"}
	}
	_, first := d.Outputs.At(0)
	for i := range d.Outputs.entries {
		if reason := whyNotTogether(&first, &d.Outputs.entries[i]); reason != "" {
			return 0, &InvalidError{Name: d.Name, Field: outputField(d.Outputs.entries[i].Key), Reason: reason}
		}
	}
	if first.kind == Fixed && d.Outputs.Len() > 1 {
		return 0, &InvalidError{Name: d.Name, Field: "outputs", Reason: "only one fixed output is allowed"}
	}
	return first.kind, nil
}

// whyNotTogether returns why an output cannot be in one derivation with the first, or
// "".
func whyNotTogether(first *Output, e *Entry[string, Output]) string {
	o := &e.Value
	switch {
	case o.kind == 0:
		return "the output is of no kind"
	case o.kind != first.kind:
		return "the outputs of a derivation are of one kind, and this is " + o.kind.String() + " while the first is " + first.kind.String()
	case o.kind == Fixed && e.Key != "out":
		return `a fixed output must be named "out"`
	case o.kind == Floating && o.algo != first.algo:
		return "all floating outputs must use the same hash algorithm"
	}
	return ""
}

func outputField(name string) string { return "output \"" + name + "\"" }
