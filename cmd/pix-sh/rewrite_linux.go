package main

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// rewrite changes what the interpreter does not do as a process would:
//
//   - subshells, both sides of pipes, command substitutions and commands with & become calls of fork, with their text;
//   - `$!`, `$$` and `$PPID` become variables;
//   - redirections of descriptors from 3 on become calls of open and restore around the command, and those that copy such a
//     descriptor become redirections to a name that the open handler knows;
//   - braces are quoted, since ash and dash do not expand them.
func rewrite(root *syntax.Stmt) {
	quiet := map[*syntax.Stmt]bool{}
	syntax.Walk(root, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.Stmt:
			rewriteStmt(n, quiet)
		case *syntax.IfClause:
			markQuiet(quiet, n.Cond...)
		case *syntax.WhileClause:
			markQuiet(quiet, n.Cond...)
		case *syntax.BinaryCmd:
			rewriteBinary(n, quiet)
		case *syntax.CmdSubst:
			if len(n.Stmts) > 0 && !isFork(n.Stmts) && !isRead(n.Stmts) {
				n.Stmts = []*syntax.Stmt{{Cmd: forkCall("", printNode(&syntax.File{Stmts: n.Stmts}))}}
				n.Last, n.Backquotes = nil, false
			}
		case *syntax.ParamExp:
			rewriteParam(n)
		case *syntax.CallExpr:
			quoteBraces(n.Args)
		case *syntax.WordIter:
			quoteBraces(n.Items)
		}
		return true
	})
}

// markQuiet marks statements whose failure does not end a shell with -e.
func markQuiet(quiet map[*syntax.Stmt]bool, stmts ...*syntax.Stmt) {
	for _, st := range stmts {
		syntax.Walk(st, func(n syntax.Node) bool {
			if inner, ok := n.(*syntax.Stmt); ok {
				quiet[inner] = true
			}
			_, isSubst := n.(*syntax.CmdSubst)
			return !isSubst
		})
	}
}

func rewriteStmt(st *syntax.Stmt, quiet map[*syntax.Stmt]bool) {
	mode := ""
	if quiet[st] || st.Negated {
		mode = "q"
	}
	if st.Negated {
		markQuiet(quiet, st)
	}
	if st.Background {
		inner := *st
		inner.Background, inner.Comments = false, nil
		*st = syntax.Stmt{Position: st.Position, Cmd: forkCall(mode+"b", printNode(&inner))}
		return
	}
	if sub, ok := st.Cmd.(*syntax.Subshell); ok {
		st.Cmd = forkCall(mode, printNode(&syntax.File{Stmts: sub.Stmts}))
	}
	rewriteRedirections(st)
}

func rewriteBinary(n *syntax.BinaryCmd, quiet map[*syntax.Stmt]bool) {
	if n.Op == syntax.AndStmt || n.Op == syntax.OrStmt {
		markQuiet(quiet, n.X)
		return
	}
	for _, side := range []*syntax.Stmt{n.X, n.Y} {
		inner, isPipe := side.Cmd.(*syntax.BinaryCmd)
		if isFork([]*syntax.Stmt{side}) || isPipe && side == n.X && (inner.Op == syntax.Pipe || inner.Op == syntax.PipeAll) {
			continue
		}
		mode := ""
		if quiet[side] {
			mode = "q"
		}
		*side = syntax.Stmt{Position: side.Position, Cmd: forkCall(mode, printNode(side))}
	}
}

// isFork reports whether statements are a call of fork.
func isFork(stmts []*syntax.Stmt) bool {
	if len(stmts) != 1 || len(stmts[0].Redirs) > 0 {
		return false
	}
	call, ok := stmts[0].Cmd.(*syntax.CallExpr)
	return ok && len(call.Args) > 0 && call.Args[0].Lit() == prefix+"fork"
}

// isRead reports whether statements are <FILE, which the interpreter substitutes without a process.
func isRead(stmts []*syntax.Stmt) bool {
	return len(stmts) == 1 && stmts[0].Cmd == nil && len(stmts[0].Redirs) == 1 && stmts[0].Redirs[0].Op == syntax.RdrIn
}

// forkCall returns a call that runs text in a process of its own. The mode has q if a failure does not end the shell, b for
// the background.
func forkCall(mode, text string) *syntax.CallExpr {
	param := func(name string) *syntax.Word {
		return &syntax.Word{Parts: []syntax.WordPart{&syntax.DblQuoted{Parts: []syntax.WordPart{
			&syntax.ParamExp{Short: true, Param: &syntax.Lit{Value: name}},
		}}}}
	}
	return &syntax.CallExpr{Args: []*syntax.Word{
		literal(prefix + "fork"), quoted(mode), quoted(text), param("-"), param("?"), param("@"),
	}}
}

func literal(s string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{Value: s}}}
}

// quoted returns a word that expands to s and survives printing.
func quoted(s string) *syntax.Word {
	w := &syntax.Word{}
	for i, part := range strings.Split(s, "'") {
		if i > 0 {
			w.Parts = append(w.Parts, &syntax.Lit{Value: `\'`})
		}
		w.Parts = append(w.Parts, &syntax.SglQuoted{Value: part})
	}
	return w
}

func rewriteParam(n *syntax.ParamExp) {
	if n.Param == nil {
		return
	}
	names := map[string]string{"!": "bg", "$": "pid", "PPID": "parent"}
	if name := names[n.Param.Value]; name != "" {
		n.Param = &syntax.Lit{Value: prefix + name}
		n.Short = false
	}
}

// quoteBraces quotes the braces of words.
func quoteBraces(words []*syntax.Word) {
	for _, w := range words {
		for _, part := range w.Parts {
			if l, ok := part.(*syntax.Lit); ok && strings.Contains(l.Value, "{") {
				l.Value = escapeBraces(l.Value)
			}
		}
	}
}

func escapeBraces(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i++
		case s[i] == '{':
			b.WriteString(`\{`)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// fileNumber returns the descriptor that a redirection changes.
func fileNumber(rd *syntax.Redirect) string {
	switch {
	case rd.N != nil:
		return rd.N.Value
	case rd.Op == syntax.RdrIn || rd.Op == syntax.DplIn || rd.Op == syntax.Hdoc || rd.Op == syntax.DashHdoc || rd.Op == syntax.RdrInOut:
		return "0"
	}
	return "1"
}

func isStandard(number string) bool { return number == "0" || number == "1" || number == "2" }

func rewriteRedirections(st *syntax.Stmt) {
	for _, rd := range st.Redirs {
		if rd.Op == syntax.RdrClob {
			rd.Op = syntax.RdrOut
		}
		if isStandard(fileNumber(rd)) {
			rewriteCopy(rd)
		}
	}
	first := slices.IndexFunc(st.Redirs, func(rd *syntax.Redirect) bool { return !isStandard(fileNumber(rd)) })
	if first < 0 {
		return
	}
	before, rd, after := st.Redirs[:first], st.Redirs[first], st.Redirs[first+1:]
	open := &syntax.Stmt{Cmd: &syntax.CallExpr{Args: []*syntax.Word{
		literal(prefix + "open"), literal(fileNumber(rd)), quoted(rd.Op.String()), rd.Word,
	}}}
	inner := &syntax.Stmt{Cmd: st.Cmd, Redirs: after}
	if call, ok := st.Cmd.(*syntax.CallExpr); ok && len(call.Args) == 1 && call.Args[0].Lit() == "exec" {
		open.Cmd.(*syntax.CallExpr).Args[0] = literal(prefix + "keep")
		stmts := []*syntax.Stmt{open}
		if len(before) > 0 {
			stmts = []*syntax.Stmt{{Cmd: st.Cmd, Redirs: before}, open}
		}
		if len(after) > 0 {
			stmts = append(stmts, inner)
		}
		st.Cmd, st.Redirs = &syntax.Block{Stmts: stmts}, nil
		return
	}
	restore := &syntax.Stmt{Cmd: &syntax.CallExpr{Args: []*syntax.Word{literal(prefix + "restore")}}}
	guarded := &syntax.Stmt{Cmd: &syntax.BinaryCmd{Op: syntax.AndStmt, X: open, Y: inner}}
	st.Cmd, st.Redirs = &syntax.Block{Stmts: []*syntax.Stmt{guarded, restore}}, before
}

// rewriteCopy makes the open handler copy a descriptor that the interpreter cannot.
func rewriteCopy(rd *syntax.Redirect) {
	word := rd.Word.Lit()
	switch {
	case rd.Op == syntax.DplOut && (word == "1" || word == "2" || word == "-") && fileNumber(rd) != "0":
		return
	case rd.Op == syntax.DplIn && word == "-" && fileNumber(rd) == "0":
		return
	case rd.Op != syntax.DplOut && rd.Op != syntax.DplIn:
		return
	}
	if fileNumber(rd) == "0" {
		rd.Op = syntax.RdrIn
	} else {
		rd.N = &syntax.Lit{Value: fileNumber(rd)}
		rd.Op = syntax.RdrOut
	}
	rd.Word = &syntax.Word{Parts: append([]syntax.WordPart{&syntax.SglQuoted{Value: copyPrefix}}, rd.Word.Parts...)}
}

// tailCommand returns the name of the command if statements are a single simple command, else "".
func tailCommand(stmts []*syntax.Stmt) string {
	if len(stmts) != 1 || stmts[0].Negated || stmts[0].Background {
		return ""
	}
	call, ok := stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 || interp.IsBuiltin(call.Args[0].Lit()) {
		return ""
	}
	return call.Args[0].Lit()
}
