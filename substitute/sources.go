package substitute

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"pix/activity"
	"pix/internal/parallel"
	"pix/nixconf"
	"pix/store"
)

const (
	// maxSources is how many stores may be named. Only who is trusted may name any.
	maxSources = 256
	// sourcePause is how long a store is not tried again that could not be opened.
	sourcePause = 60 * time.Second
)

// ErrClosed says that sources were used after they were closed.
var ErrClosed = errors.New("the substituters were closed")

// Sources opens substituters by their URIs when they are first needed, and keeps them open. The
// zero value of all but Open is useful. It may be used by any number of goroutines at once.
type Sources struct {
	// Open opens the store that a URI names. Parameters of the URI that say how a substituter is
	// used (priority, want-mass-query and trusted) are not in it.
	Open func(ctx context.Context, uri string) (store.Store, error)

	// Variant returns which options Open uses in a context. A call gets a substituter that was opened with
	// its own options. Nil means that the options do not depend on the context.
	Variant func(ctx context.Context) string

	mu     sync.Mutex
	known  map[sourceKey]*source
	closed bool
}

// A sourceKey says which substituter it is, and how it was opened.
type sourceKey struct{ variant, uri string }

// A source is a substituter that is open, or could not be opened. Its turn holds one value while
// somebody uses the rest.
type source struct {
	turn  chan struct{}
	sub   Substituter
	err   error
	until time.Time // when it is tried again, if it could not be opened
}

// Get returns the substituters that URIs name, each once. One that cannot be opened is left out, and
// the handler of the context is told; it is not tried again for a minute. The error is why the
// context has ended, or [ErrClosed].
func (s *Sources) Get(ctx context.Context, uris []string) ([]Substituter, error) {
	subs, errs := make([]Substituter, len(uris)), make([]error, len(uris))
	opening, openCtx := parallel.WithContext(ctx, 0)
	for i, uri := range uris {
		opening.Go(func() error {
			subs[i], errs[i] = s.get(openCtx, uri)
			return nil // the others are opened even so
		})
	}
	opening.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var open []Substituter
	seen := make(map[string]bool)
	for i, uri := range uris {
		switch {
		case errs[i] == ErrClosed:
			return nil, ErrClosed
		case seen[uri]:
		case errs[i] == nil:
			open = append(open, subs[i])
		default:
			if h := activity.HandlerOf(ctx); h != nil {
				h.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: fmt.Sprintf("warning: %v", errs[i])})
			}
		}
		seen[uri] = true
	}
	return open, nil
}

// get returns one substituter.
func (s *Sources) get(ctx context.Context, uri string) (Substituter, error) {
	key := sourceKey{uri: uri}
	if s.Variant != nil {
		key.variant = s.Variant(ctx)
	}
	o, err := s.source(key)
	if err != nil {
		return Substituter{}, err
	}
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return Substituter{}, context.Cause(ctx)
	}
	if o.sub.Store == nil && (o.err == nil || !time.Now().Before(o.until)) {
		sub, err := s.open(ctx, uri)
		if ctx.Err() != nil { // the next has another context
			if err == nil {
				sub.Store.Close()
			}
			return Substituter{}, context.Cause(ctx)
		}
		o.sub, o.err, o.until = sub, err, time.Now().Add(sourcePause)
	}
	return o.sub, o.err
}

// source returns the source with a key.
func (s *Sources) source(key sourceKey) (*source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch o := s.known[key]; {
	case s.closed:
		return nil, ErrClosed
	case o != nil:
		return o, nil
	case len(s.known) >= maxSources:
		return nil, fmt.Errorf("a substituter is one too many: %d are known already", maxSources)
	}
	if s.known == nil {
		s.known = make(map[sourceKey]*source)
	}
	o := &source{turn: make(chan struct{}, 1)}
	s.known[key] = o
	return o, nil
}

// open opens a substituter.
func (s *Sources) open(ctx context.Context, uri string) (Substituter, error) {
	bare, params, err := splitParams(uri)
	if err != nil {
		return Substituter{}, err
	}
	opened, err := s.Open(ctx, bare)
	if err != nil {
		return Substituter{}, err
	}
	sub := NewSubstituter(opened, bare)
	if params.priority != nil {
		sub.Priority = *params.priority
	}
	if params.wantMassQuery != nil {
		sub.WantMassQuery = *params.wantMassQuery
	}
	sub.Trusted = params.trusted
	return sub, nil
}

// Close closes all that are open. Calls that use them fail.
func (s *Sources) Close() error {
	s.mu.Lock()
	known := s.known
	s.known, s.closed = nil, true
	s.mu.Unlock()
	var errs []error
	for _, o := range known {
		o.turn <- struct{}{}
		if o.sub.Store != nil {
			errs = append(errs, o.sub.Store.Close())
		}
		o.sub, o.err, o.until = Substituter{}, ErrClosed, time.Now().Add(time.Hour)
		<-o.turn
	}
	return errors.Join(errs...)
}

// params are those of a URI that say how a substituter is used.
type params struct {
	priority      *int
	wantMassQuery *bool
	trusted       bool
}

// splitParams takes the parameters out of a URI that say how a substituter is used.
func splitParams(uri string) (bare string, p params, err error) {
	bare, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri, p, nil
	}
	var others []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if value, err = url.PathUnescape(value); err == nil {
			var known bool
			if known, err = p.set(name, value); !known {
				others = append(others, pair)
			}
		}
		if err != nil {
			return "", p, fmt.Errorf("the parameter %s of a substituter: %w", name, err)
		}
	}
	if len(others) > 0 {
		bare += "?" + strings.Join(others, "&")
	}
	return bare, p, nil
}

// set takes in a parameter, if it is one of them.
func (p *params) set(name, value string) (known bool, err error) {
	switch name {
	case "priority":
		n, err := strconv.Atoi(value)
		p.priority = &n
		return true, err
	case "want-mass-query":
		wanted, err := nixconf.ParseBool(value)
		p.wantMassQuery = &wanted
		return true, err
	case "trusted":
		p.trusted, err = nixconf.ParseBool(value)
		return true, err
	}
	return false, nil
}
