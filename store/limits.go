package store

import (
	"fmt"

	"pix/derivation"
)

// Limits bound how large a closure a store may claim: see [derivation.Limits]. [Closure] and its callers
// apply the limits that [LimitsOf] returns. To change them, wrap the store:
//
//	limits := store.LimitsOf(s)
//	limits.Paths *= 4
//	s = store.WithLimits(s, limits)
type Limits = derivation.Limits

// A LimitError says that a store claims a larger closure than its [Limits] allow.
type LimitError = derivation.LimitError

// A Limiter is a [Store] with its own limits.
type Limiter interface {
	// ClosureLimits returns the limits, and the receiver as the store for which they hold. A struct
	// that embeds a Limiter inherits this method, but may return other infos. The limits do not hold
	// for it, because it is not the returned store.
	ClosureLimits() (Limits, Store)
}

// LimitsOf returns the limits of s if it is a [Limiter], else [derivation.ForeignLimits]. A wrapper with
// an Unwrap method does not inherit the limits of the wrapped store, because it may return other infos.
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

// nameOf returns the name of a store in errors.
func nameOf(s Store) string {
	if limited, ok := s.(*limitedStore); ok {
		s = limited.Store
	}
	if named, ok := As[interface{ URI() string }](s); ok {
		return "'" + named.URI() + "'"
	}
	return fmt.Sprintf("a store of type %T", s)
}
