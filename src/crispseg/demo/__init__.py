"""`crispseg demo`: toy streets, small networks trained on them, and a page of what each sees."""
