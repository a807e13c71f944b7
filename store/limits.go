package store

import (
	"fmt"

	"pix/derivation"
)

// Limits bound how much of a closure is taken from a store: see [derivation.Limits]. [Closure] and
// everything that uses it keep those of [LimitsOf] the store. To change them, wrap the store:
//
//	limits := store.LimitsOf(s)
//	limits.Paths *= 4
//	s = store.WithLimits(s, limits)
type Limits = derivation.Limits

// A LimitError says that a store claims a larger closure than its [Limits] allow.
type LimitError = derivation.LimitError

// A Limiter is a [Store] that says how much of a closure may be taken from it.
type Limiter interface {
	// ClosureLimits returns the limits, and the store that they are for, which is the receiver. A
	// struct that embeds a store has this method, too, but may answer other things: the limits are
	// not for that.
	ClosureLimits() (Limits, Store)
}

// LimitsOf returns how much of a closure may be taken from s: what s says if it is a [Limiter], and
// else [derivation.ForeignLimits]. A wrapper with an Unwrap method does not inherit the limits of what
// it wraps, because it may answer other things.
func LimitsOf(s Store) Limits {
	if l, ok := s.(Limiter); ok {
		if limits, of := l.ClosureLimits(); of == s {
			return limits
		}
	}
	return derivation.ForeignLimits()
}

// WithLimits returns s with other limits.
func WithLimits(s Store, limits Limits) Store { return &limitedStore{s, limits} }

type limitedStore struct {
	Store
	limits Limits
}

func (s *limitedStore) Unwrap() Store { return s.Store }

// ClosureLimits implements [Limiter].
func (s *limitedStore) ClosureLimits() (Limits, Store) { return s.limits, s }

// nameOf returns what an error calls a store that claims too much.
func nameOf(s Store) string {
	if limited, ok := s.(*limitedStore); ok {
		s = limited.Store
	}
	if named, ok := As[interface{ URI() string }](s); ok {
		return "'" + named.URI() + "'"
	}
	return fmt.Sprintf("a store of type %T", s)
}
