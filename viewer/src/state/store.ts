/** A value that tells its listeners when it was replaced. */

export class Store<T> {
	private readonly listeners = new Set<(value: T, before: T) => void>();

	constructor(private current: T) {}

	get value(): T {
		return this.current;
	}

	set(value: T): void {
		const before = this.current;
		if (value !== before) {
			this.current = value;
			for (const listener of [...this.listeners]) {
				listener(value, before);
			}
		}
	}

	/** Replaces some fields. */
	update(patch: Partial<T>): void {
		this.set({ ...this.current, ...patch });
	}

	listen(listener: (value: T, before: T) => void): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}
}
