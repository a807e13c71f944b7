package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// A scope owns what a row creates. It is the test of the packages realnix and latency, which serve tests: a failure ends
// the row, and its cleanups run in the end.
type scope struct {
	testing.TB // nil; the methods below are the ones that these packages call
	ctx        context.Context
	cancel     context.CancelFunc
	cleanups   []func()
	missing    []string // the contenders that cannot be measured, with reasons
}

func newScope() *scope {
	t := new(scope)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// failure is the panic of Fatal and Skip.
type failure struct{ error }

// try calls f, and returns the error with which f ended the row.
func (t *scope) try(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// check ends the row if there is an error.
func (t *scope) check(err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// lacks notes a contender that cannot be measured.
func (t *scope) lacks(format string, args ...any) {
	t.missing = append(t.missing, fmt.Sprintf(format, args...))
}

// cleanUp calls the cleanups, the last one first.
func (t *scope) cleanUp() {
	t.cancel()
	for len(t.cleanups) > 0 {
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		last()
	}
}

// TempDir returns a new directory that is removed with the scope.
func (t *scope) TempDir() string {
	dir, err := os.MkdirTemp("", "pixbench")
	t.check(err)
	t.Cleanup(func() { removeTree(dir) })
	return dir
}

func (t *scope) Helper()                           {}
func (t *scope) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *scope) Context() context.Context          { return t.ctx }
func (t *scope) Fatal(args ...any)                 { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (t *scope) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (t *scope) Skip(args ...any)                  { t.Fatal(args...) }
func (t *scope) SkipNow()                          { t.Fatal("skipped") }
func (t *scope) Error(args ...any)                 { t.lacks("%s", fmt.Sprint(args...)) }
func (t *scope) Errorf(format string, args ...any) { t.lacks(format, args...) }
func (t *scope) Log(args ...any)                   {}
func (t *scope) Logf(format string, args ...any)   {}
