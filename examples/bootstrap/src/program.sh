#: A program.
echo hello
