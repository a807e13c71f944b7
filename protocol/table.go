package protocol

import (
	"fmt"
)

// An Op is the number of an operation.
type Op uint64

// The operations of Nix, numbered as on the wire. The missing numbers were removed from Nix.
// Nix has reserved 48 to 50.
const (
	IsValidPath                 Op = 1
	QueryReferrers              Op = 6
	AddToStore                  Op = 7
	AddTextToStore              Op = 8
	BuildPaths                  Op = 9
	EnsurePath                  Op = 10
	AddTempRoot                 Op = 11
	AddIndirectRoot             Op = 12
	SyncWithGC                  Op = 13
	FindRoots                   Op = 14
	QueryDeriver                Op = 18
	SetOptions                  Op = 19
	CollectGarbage              Op = 20
	QuerySubstitutablePathInfo  Op = 21
	QueryDerivationOutputs      Op = 22
	QueryAllValidPaths          Op = 23
	QueryPathInfo               Op = 26
	QueryDerivationOutputNames  Op = 28
	QueryPathFromHashPart       Op = 29
	QuerySubstitutablePathInfos Op = 30
	QueryValidPaths             Op = 31
	QuerySubstitutablePaths     Op = 32
	QueryValidDerivers          Op = 33
	OptimiseStore               Op = 34
	VerifyStore                 Op = 35
	BuildDerivation             Op = 36
	AddSignatures               Op = 37
	NarFromPath                 Op = 38
	AddToStoreNar               Op = 39
	QueryMissing                Op = 40
	QueryDerivationOutputMap    Op = 41
	RegisterDrvOutput           Op = 42
	QueryRealisation            Op = 43
	AddMultipleToStore          Op = 44
	AddBuildLog                 Op = 45
	BuildPathsWithResults       Op = 46
	AddPermRoot                 Op = 47

	// Operations of Determinate Nix.
	QueryActiveBuilds Op = 48
	AddTempRoots      Op = 49
	QueryPathInfos    Op = 50

	// Operations of the daemon for running builds.
	SubmitOutput       Op = 1000
	AddToStoreScanning Op = 1001
)

// A Body says what follows a request.
type Body uint8

// The bodies of requests.
const (
	NoBody     Body = iota
	FramedBody      // frames, which the daemon reads while it works
	NARBody         // an unframed archive, which the daemon reads before it works
	// AskedBody is a sequence of strings. Each answers a [MessageRead], which states the
	// maximum length of the string. An empty string makes the daemon fail.
	AskedBody
)

func (b Body) String() string {
	switch b {
	case NoBody:
		return "no body"
	case FramedBody:
		return "frames"
	case NARBody:
		return "an archive"
	case AskedBody:
		return "strings when asked"
	}
	return fmt.Sprintf("Body(%d)", uint8(b))
}

// Access says which users may call an operation.
type Access uint8

// The users of an operation. See [Params.NeedsTrust].
const (
	Everybody     Access = iota
	TrustedInPart        // some of its requests need a trusted user
	TrustedOnly
)

func (a Access) String() string {
	switch a {
	case Everybody:
		return "everybody"
	case TrustedInPart:
		return "trusted in part"
	case TrustedOnly:
		return "trusted only"
	}
	return fmt.Sprintf("Access(%d)", uint8(a))
}

// An Operation is a row of the table. It describes an operation, except for the fields of its
// request and reply.
type Operation struct {
	Op      Op
	Name    string
	Since   Version  // the first version in which every daemon has the operation
	Feature Features // features that are required
	Without Features // features that remove the operation
	Access  Access
	// Query says that a daemon answers from its own database without waiting for anything. A
	// client can pipeline such queries: see [IsQuery].
	Query bool
	// Body returns what follows the request.
	Body func(Params) Body
	// Archive says that an unframed archive follows the reply.
	Archive bool

	request func() Request
	reply   func() Reply
}

// From 1.18 on these are the versions that Nix's own client checks, with two exceptions.
// Realisations had another format before 1.31. AddBuildLog is unknown to Nix 2.4 and 2.5, which
// speak 1.32 like Nix 2.6. No daemon in use speaks the versions in between, so the later
// version is used.
var (
	outputMapVersion   = MakeVersion(22)
	realisationVersion = MakeVersion(31)
	multipleVersion    = MakeVersion(32)
	buildLogVersion    = MakeVersion(33)
	resultsVersion     = MakeVersion(34)
	permRootVersion    = MakeVersion(36)
)

// table has one row per operation.
var table = complete([]Operation{
	{Op: IsValidPath, Name: "IsValidPath", Query: true,
		request: request[IsValidPathRequest], reply: reply[IsValidPathReply]},
	{Op: QueryReferrers, Name: "QueryReferrers", Query: true,
		request: request[QueryReferrersRequest], reply: reply[PathsReply]},
	{Op: AddToStore, Name: "AddToStore", Body: addBody,
		request: request[AddToStoreRequest], reply: reply[AddToStoreReply]},
	{Op: AddTextToStore, Name: "AddTextToStore",
		request: request[AddTextToStoreRequest], reply: reply[PathReply]},
	{Op: BuildPaths, Name: "BuildPaths", Access: TrustedInPart,
		request: request[BuildPathsRequest], reply: reply[Ack]},
	{Op: EnsurePath, Name: "EnsurePath",
		request: request[EnsurePathRequest], reply: reply[Ack]},
	{Op: AddTempRoot, Name: "AddTempRoot",
		request: request[AddTempRootRequest], reply: reply[Ack]},
	{Op: AddIndirectRoot, Name: "AddIndirectRoot",
		request: request[AddIndirectRootRequest], reply: reply[Ack]},
	{Op: SyncWithGC, Name: "SyncWithGC",
		request: request[SyncWithGCRequest], reply: reply[Ack]},
	{Op: FindRoots, Name: "FindRoots",
		request: request[FindRootsRequest], reply: reply[FindRootsReply]},
	{Op: QueryDeriver, Name: "QueryDeriver", Query: true,
		request: request[QueryDeriverRequest], reply: reply[OptionalPathReply]},
	{Op: SetOptions, Name: "SetOptions", Without: NoSetOptions,
		request: request[SetOptionsRequest], reply: reply[None]},
	{Op: CollectGarbage, Name: "CollectGarbage",
		request: request[CollectGarbageRequest], reply: reply[CollectGarbageReply]},
	{Op: QuerySubstitutablePathInfo, Name: "QuerySubstitutablePathInfo",
		request: request[QuerySubstitutablePathInfoRequest], reply: reply[QuerySubstitutablePathInfoReply]},
	{Op: QueryDerivationOutputs, Name: "QueryDerivationOutputs",
		request: request[QueryDerivationOutputsRequest], reply: reply[PathsReply]},
	{Op: QueryAllValidPaths, Name: "QueryAllValidPaths",
		request: request[QueryAllValidPathsRequest], reply: reply[PathsReply]},
	{Op: QueryPathInfo, Name: "QueryPathInfo", Query: true,
		request: request[QueryPathInfoRequest], reply: reply[QueryPathInfoReply]},
	{Op: QueryDerivationOutputNames, Name: "QueryDerivationOutputNames",
		request: request[QueryDerivationOutputNamesRequest], reply: reply[QueryDerivationOutputNamesReply]},
	{Op: QueryPathFromHashPart, Name: "QueryPathFromHashPart", Query: true,
		request: request[QueryPathFromHashPartRequest], reply: reply[OptionalPathReply]},
	{Op: QuerySubstitutablePathInfos, Name: "QuerySubstitutablePathInfos",
		request: request[QuerySubstitutablePathInfosRequest], reply: reply[QuerySubstitutablePathInfosReply]},
	{Op: QueryValidPaths, Name: "QueryValidPaths", Query: true,
		request: request[QueryValidPathsRequest], reply: reply[PathsReply]},
	{Op: QuerySubstitutablePaths, Name: "QuerySubstitutablePaths",
		request: request[QuerySubstitutablePathsRequest], reply: reply[PathsReply]},
	{Op: QueryValidDerivers, Name: "QueryValidDerivers", Query: true,
		request: request[QueryValidDeriversRequest], reply: reply[PathsReply]},
	{Op: OptimiseStore, Name: "OptimiseStore",
		request: request[OptimiseStoreRequest], reply: reply[Ack]},
	{Op: VerifyStore, Name: "VerifyStore", Access: TrustedInPart,
		request: request[VerifyStoreRequest], reply: reply[VerifyStoreReply]},
	{Op: BuildDerivation, Name: "BuildDerivation", Access: TrustedInPart,
		request: request[BuildDerivationRequest], reply: reply[BuildDerivationReply]},
	{Op: AddSignatures, Name: "AddSignatures", Access: TrustedInPart,
		request: request[AddSignaturesRequest], reply: reply[Ack]},
	{Op: NarFromPath, Name: "NarFromPath", Archive: true,
		request: request[NarFromPathRequest], reply: reply[None]},
	{Op: AddToStoreNar, Name: "AddToStoreNar", Body: addNARBody,
		request: request[AddToStoreNarRequest], reply: reply[None]},
	{Op: QueryMissing, Name: "QueryMissing", Since: MakeVersion(19),
		request: request[QueryMissingRequest], reply: reply[QueryMissingReply]},
	{Op: QueryDerivationOutputMap, Name: "QueryDerivationOutputMap", Since: outputMapVersion, Query: true,
		request: request[QueryDerivationOutputMapRequest], reply: reply[QueryDerivationOutputMapReply]},
	{Op: RegisterDrvOutput, Name: "RegisterDrvOutput", Since: realisationVersion,
		request: request[RegisterDrvOutputRequest], reply: reply[None]},
	{Op: QueryRealisation, Name: "QueryRealisation", Since: realisationVersion, Query: true,
		request: request[QueryRealisationRequest], reply: reply[QueryRealisationReply]},
	{Op: AddMultipleToStore, Name: "AddMultipleToStore", Since: multipleVersion, Body: framed,
		request: request[AddMultipleToStoreRequest], reply: reply[None]},
	{Op: AddBuildLog, Name: "AddBuildLog", Since: buildLogVersion, Access: TrustedOnly, Body: framed,
		request: request[AddBuildLogRequest], reply: reply[Ack]},
	{Op: BuildPathsWithResults, Name: "BuildPathsWithResults", Since: resultsVersion, Access: TrustedInPart,
		request: request[BuildPathsWithResultsRequest], reply: reply[BuildPathsWithResultsReply]},
	{Op: AddPermRoot, Name: "AddPermRoot", Since: permRootVersion, Access: TrustedOnly,
		request: request[AddPermRootRequest], reply: reply[AddPermRootReply]},
	{Op: QueryActiveBuilds, Name: "QueryActiveBuilds", Since: FeatureVersion, Feature: ActiveBuilds,
		request: request[QueryActiveBuildsRequest], reply: reply[QueryActiveBuildsReply]},
	{Op: AddTempRoots, Name: "AddTempRoots", Since: FeatureVersion, Feature: TempRoots,
		request: request[AddTempRootsRequest], reply: reply[Ack]},
	{Op: QueryPathInfos, Name: "QueryPathInfos", Since: FeatureVersion, Feature: PathInfos, Query: true,
		request: request[QueryPathInfosRequest], reply: reply[QueryPathInfosReply]},
	{Op: SubmitOutput, Name: "SubmitOutput", Since: FeatureVersion, Feature: OutputSubmission,
		request: request[SubmitOutputRequest], reply: reply[Ack]},
	{Op: AddToStoreScanning, Name: "AddToStoreScanning", Since: FeatureVersion, Feature: Scanning, Body: framed,
		request: request[AddToStoreScanningRequest], reply: reply[AddToStoreReply]},
})

// request and reply return empty values of the given type.
func request[T any, P interface {
	*T
	Request
}]() Request {
	return P(new(T))
}

func reply[T any, P interface {
	*T
	Reply
}]() Reply {
	return P(new(T))
}

// complete sets the defaults of rows.
func complete(rows []Operation) []Operation {
	for i := range rows {
		if rows[i].Since == 0 {
			rows[i].Since = MinVersion
		}
		if rows[i].Body == nil {
			rows[i].Body = func(Params) Body { return NoBody }
		}
	}
	return rows
}

func framed(Params) Body { return FramedBody }

func addBody(p Params) Body {
	if p.Version >= framedAdd {
		return FramedBody
	}
	return NARBody
}

func addNARBody(p Params) Body {
	switch {
	case p.Version >= MakeVersion(23):
		return FramedBody
	case p.Version >= MakeVersion(21):
		return AskedBody
	}
	return NARBody
}

// Operations returns all operations, ordered by number.
func Operations() []Operation { return append([]Operation(nil), table...) }

// Lookup returns an operation. For an unknown number ok is false.
func Lookup(op Op) (row Operation, ok bool) {
	if r := rowOf(op); r != nil {
		return *r, true
	}
	return Operation{}, false
}

// rows maps numbers to rows.
var rows = make(map[Op]*Operation, len(table))

func init() {
	for i := range table {
		rows[table[i].Op] = &table[i]
	}
}

func rowOf(op Op) *Operation { return rows[op] }

// String returns Nix's name of the operation.
func (op Op) String() string {
	if row := rowOf(op); row != nil {
		return row.Name
	}
	return fmt.Sprintf("Op(%d)", uint64(op))
}

// Check returns an [*UnsupportedError] unless the other side has the operation.
func (p Params) Check(op Op) error {
	row := rowOf(op)
	switch {
	case row == nil:
		return &UnsupportedError{What: "operation " + op.String(), Have: p.Version}
	case p.Version < row.Since:
		return &UnsupportedError{What: "operation " + row.Name, Have: p.Version, Since: row.Since}
	case !p.Features.Has(row.Feature):
		return &UnsupportedError{What: "operation " + row.Name, Have: p.Version, Feature: row.Feature &^ p.Features}
	case p.Features&row.Without != 0:
		return &UnsupportedError{What: "operation " + row.Name + " during a build", Have: p.Version}
	}
	return nil
}
