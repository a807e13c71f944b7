#: The compiler: it copies all lines but comments, which begin like this one.
while IFS= read -r line; do
	case $line in
	"#:"*) ;; #: this is none, for it does not begin the line
	*) printf '%s\n' "$line" ;;
	esac
done < "$1" > "$out"
