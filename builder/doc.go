// Package builder runs derivations: it makes the outputs of one derivation whose inputs are valid.
package builder
